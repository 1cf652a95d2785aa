"""Results of other machines: what `inkflow verify --against` says of them, and what the environment policy does."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from flows.cli.main import main
from stages.base.errors import InkflowError, InvalidInput
from tests.conftest import Toy
from tests.support.machines import Machine, Records, counted, holm, recipe_p, results, weights_of
from tests.torture.conftest import Rounds, Try
from tests.torture.support.damage import flipped

SUBJECT = "Other machines"
SAME = Machine()
# What the other machine did differently, by model; this machine is `Machine()` with the seeds of the other one.
OTHERS = {
    "same": SAME,
    "container": Machine(container="snappy"),
    "threads": Machine(threads=3),
    "bfloat16": Machine(precision="bfloat16"),
    "other_seed": Machine(seed=1),
    "recipe": Machine(seeds=(3, 4, 5)),
    "weights": Machine(tamper="weights"),
    "quietly": Machine(tamper="quietly"),
    "unevaluated": Machine(tamper="unevaluated"),
    "metrics": Machine(tamper="metrics"),
    "scores": Machine(tamper="scores"),
    "units": Machine(units=11, tamper="weights"),
    "code": Machine(code="2", tamper="weights"),
}
TESTED = ("threads", "bfloat16", "other_seed", "weights")  # by McNemar's test


def compared(toy: Toy, here: Records, there: Records, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns what the command prints of two machines with one cache."""
    for records, lock in ((here, toy.folder / "dvc.lock"), (there, toy.folder / "other/dvc.lock")):
        records.write(lock, toy.folder / ".dvc/cache")
    capsys.readouterr()
    code = main(["verify", "--against", "other/dvc.lock", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == found["exit_code"]
    found["verdicts"] = {row["output"]: row["verdict"] for row in found["outputs"]}
    return found


def expected(here: Records, there: Records, of_recipe: float, folder: Path) -> dict[str, str]:
    """Returns the verdict on each model by an oracle of its own: counts of errors, the tests, and Holm."""
    paths = {name: f"evaluation/{name}/predictions.parquet" for name in OTHERS}
    tests = {name: counted(here.files[path], there.files[path], folder) for name, path in paths.items()}
    # Where something of a model differs, it is tested, unless it is wrong on the same samples. Recipes have a test of
    # their own, whose p-value counts among those that are corrected.
    untold = ("quietly", "container", "scores")
    differing = {name: tests[name][2] for name in (*TESTED, *untold) if any(tests[name][1])}
    corrected = holm(differing | {"recipe": of_recipe})
    tested = (*TESTED, "recipe")
    verdicts = {name: "different" if corrected.get(name, 1.0) < 0.05 else "statistically equal" for name in tested}
    weights = [weights_of(side.files["models/threads/model.onnx"]) for side in (here, there)]
    if np.abs(weights[0] - weights[1]).max() <= 1e-6:  # of numbers below 1
        verdicts["threads"] = "within tolerance"
    return verdicts | {
        "same": "byte-equal",
        "container": "value-equal",
        "quietly": "different",
        "unevaluated": "different",
        "metrics": "byte-equal",
        "scores": "byte-equal",
        "units": "not comparable",
        "code": "not comparable",
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.farm
def test_each_difference_has_its_verdict(
    promise: Try, rounds: Rounds, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thirteen kinds of other results, each judged as what it is, with the counts of an independent oracle."""
    sentence = (
        "`inkflow verify --against` never calls other results equal, and tells chance, recipes and tampering apart."
    )
    how = "trainings with other threads, precision, seeds, containers, parameters and code; tampered weights and scores"
    with promise(SUBJECT, sentence, how) as tried:
        for number in range(rounds(1, 8)):
            machines = {name: replaced(machine, number) for name, machine in OTHERS.items()}
            mine = {name: own(name, number) for name in OTHERS}
            here, there = results(mine, tmp_path), results(machines, tmp_path)
            shutil.rmtree(toy.folder / ".dvc/cache", ignore_errors=True)
            found = compared(toy, here, there, capsys)
            path = "evaluation/recipe/predictions.parquet"
            p = recipe_p(here.files[path], there.files[path], tmp_path)
            oracle = expected(here, there, p, tmp_path)
            for name, verdict in oracle.items():
                with tried.attempt(f"round {number}, {name}"):
                    assert found["verdicts"][f"models/{name}/model.onnx"] == verdict
            with tried.attempt(f"round {number}, counts"):
                check_counts(found["models"], here, there, tmp_path)
            with tried.attempt(f"round {number}, recipe"):
                assert found["models"]["recipe"]["p"] == pytest.approx(p)
                assert found["models"]["recipe"]["seeds"] == {"here": 3, "there": 3}
            with tried.attempt(f"round {number}, scores"):
                for name in ("metrics", "scores"):
                    assert found["verdicts"][f"evaluation/{name}/metrics.json"] == "different"
                assert "counts" in found and found["exit_code"] == 1
            with tried.attempt(f"round {number}, inputs"):
                named = {(item["stage"], item["name"]) for item in found["inputs"]}
                draws = {("train@other_seed", "models.other_seed.seed"), ("train@recipe", "models.recipe.seeds")}
                assert named == draws | {("train@units", "models.units.units"), ("train@code", "stages/train")}
            with tried.attempt(f"round {number}, environment"):
                seen = {(item["stage"], item["name"]) for item in found["environment"]}
                assert seen == {("train@threads", "threads"), ("train@bfloat16", "precision")}
                assert sorted(note.partition(":")[0] for note in found["notes"]) == [
                    "evaluate@metrics", "evaluate@scores", "train@quietly", "train@unevaluated", "train@weights",
                ]  # fmt: skip


def own(name: str, number: int) -> Machine:
    """Returns this machine's side of a model in a round."""
    return Machine(seed=number, seeds=(10 * number, 10 * number + 1, 10 * number + 2) if name == "recipe" else ())


def replaced(machine: Machine, number: int) -> Machine:
    """Returns the other machine's side of a model in a round."""
    seeds = tuple(10 * number + seed for seed in machine.seeds)
    return Machine(**{**vars(machine), "seed": machine.seed + number, "seeds": seeds})


def check_counts(models: Mapping[str, Any], here: Records, there: Records, folder: Path) -> None:
    """Checks the counts and p-values of McNemar's tests."""
    for name in TESTED:
        path = f"evaluation/{name}/predictions.parquet"
        wrong, alone, p = counted(here.files[path], there.files[path], folder)
        test = models[name]
        assert [test["wrong"][side] for side in ("here", "there")] == wrong, name
        assert [test["only_wrong"][side] for side in ("here", "there")] == alone, name
        assert test["n"] == 797 and test["p"] == pytest.approx(p), name


@pytest.mark.timeout(600)
@pytest.mark.farm
def test_damaged_contents_are_never_equal(
    promise: Try, rounds: Rounds, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte flipped in an object of the other machine makes its output unknown, whatever the byte."""
    random = Random(7)
    models = {"same": SAME, "threads": Machine(threads=3)}
    here, there = results({"same": SAME, "threads": SAME}, tmp_path), results(models, tmp_path)
    cache = toy.folder / ".dvc/cache"
    with promise(
        SUBJECT, "A damaged result of another machine is never compared as if it were whole.", "a flipped byte each"
    ) as tried:
        there.write(toy.folder / "other/dvc.lock", cache)
        alone = [content for content in there.files.values() if content not in here.files.values()]
        for number in range(rounds(2, 20)):
            content = random.choice(alone)
            path = next(path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == content)
            place = random.randrange(len(content))
            path.chmod(0o644)
            path.write_bytes(
                content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]
            )
            name = next(name for name, other in there.files.items() if other == content)
            with tried.attempt(f"seed 7, round {number}: byte {place} of {name}"):
                found = compared(toy, here, there, capsys)
                said = next(row for row in found["outputs"] if row["output"] == name)
                assert said["verdict"] in ("unknown", "statistically equal", "follows"), said["verdict"]
                assert said["difference"] == "", said["difference"]
            path.write_bytes(content)


PIPELINE = "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}\n"
GRADES: dict[str, Callable[[str], Any]] = {
    "exact": lambda version: version,
    "minor": lambda version: version.partition("+")[0].split(".")[:2],
    "major": lambda version: version.partition("+")[0].split(".")[:1],
    "report": lambda version: version,
}


@pytest.fixture
def recorded(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A project that recorded a package in a version, on a processor."""
    monkeypatch.syspath_prepend(toy.folder / "site")
    toy.write({"dvc.yaml": PIPELINE, "in": "one\n"})
    install(toy, "2.21.0")
    toy.write({"execution.yaml": "environment: {toypkg: exact, processor: report}\n"})
    assert main(["run", "--no-server"]) == 0
    return toy


def install(toy: Toy, version: str) -> None:
    """Installs a version of the package."""
    shutil.rmtree(toy.folder / "site", ignore_errors=True)
    metadata = f"Metadata-Version: 2.1\nName: toypkg\nVersion: {version}\n"
    toy.write({f"site/toypkg-{version}.dist-info/METADATA": metadata})


@pytest.mark.timeout(600)
def test_environment_policies(promise: Try, rounds: Rounds, recorded: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """All grades and policies with random versions: what an independent rule says is what the plan does."""
    random = Random(11)
    cases = [(grade, policy) for grade in GRADES for policy in ("rerun", "warn", "ignore")]
    sentence = "A changed version runs a stage, is reported or is ignored, as `environment` of execution.yaml says."
    with promise(SUBJECT, sentence, "random versions of a package under all grades and policies") as tried:
        for number in range(rounds(len(cases), 150)):
            grade, policy = cases[number % len(cases)]
            part = [random.choice(("2", "3")), random.choice(("21", "22")), random.choice(("0", "1"))]
            version = ".".join(part) + random.choice(("", "", "+cpu"))
            install(recorded, version)
            recorded.write({"execution.yaml": f"environment: {{toypkg: {grade}, policy: {policy}}}\n"})
            with tried.attempt(f"seed 11, round {number}: {grade}, {policy}, 2.21.0 → {version}"):
                differs = GRADES[grade]("2.21.0") != GRADES[grade](version) and policy != "ignore"
                capsys.readouterr()
                assert main(["plan", "--json"]) == 0
                row = json.loads(capsys.readouterr().out)["stages"][0]
                told = [(item["present"], item["policy"]) for item in row["environment"]]
                does = "report" if grade == "report" else policy
                assert told == ([(version, does)] if differs else [])
                assert (row["verdict"] == "run") == (differs and does == "rerun")


@pytest.mark.timeout(600)
def test_damaged_environment_records(
    promise: Try, rounds: Rounds, recorded: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever environment.lock holds, the plan is made or one sentence names the file; no stage runs because of it."""
    random = Random(13)
    whole = recorded.read("environment.lock")
    entry = json.loads(whole)["a"]
    strange: list[Any] = [
        [], {}, {"a": []}, {"a": {}}, {"a": entry | {"toypkg": None}}, {"a": entry | {"toypkg": ["2", 21]}},
        {"a": entry | {"outputs": 3}}, {"a": entry | {"toypkg": ""}}, {"a": entry | {"toypkg": "x" * 100_000}},
        {"b\x1b[31m": entry}, {"a": {"outputs": entry["outputs"]}}, {"a": entry | {"toypkg": "\x1b[2J../.."}},
    ]  # fmt: skip
    texts = [json.dumps(item).encode() for item in strange] + [b"", b"\n", b"null", b"[" * 100_000, b"\xff", b"{}" * 2]
    sentence = "A damaged record of an environment is named or says nothing; no stage runs for it, and nothing is lost."
    with promise(SUBJECT, sentence, "strange and cut records, and flipped bytes in environment.lock") as tried:
        for number in range(rounds(len(texts) + 6, 120)):
            content = texts[number] if number < len(texts) else flipped_or_cut(whole.encode(), random)
            (recorded.folder / "environment.lock").write_bytes(content)
            with tried.attempt(f"seed 13, round {number}: {content[:80]!r}"):
                capsys.readouterr()
                try:
                    assert main(["plan", "--json"]) == 0
                    row = json.loads(capsys.readouterr().out)["stages"][0]
                    assert row["verdict"] == "unchanged", row["verdict"]
                except InvalidInput as error:
                    assert "environment.lock" in str(error) and len(str(error)) < 2000, str(error)[:200]
                except InkflowError as error:
                    raise AssertionError(f"{type(error).__name__}: {error}") from error
                assert (recorded.folder / "environment.lock").read_bytes() == content
        (recorded.folder / "environment.lock").write_text(whole)
        with tried.attempt("whole again"):
            assert main(["plan", "--json"]) == 0


def flipped_or_cut(content: bytes, random: Random) -> bytes:
    """Returns `content` with a flipped bit, or cut."""
    return content[: random.randrange(len(content))] if random.random() < 0.2 else flipped(content, random)
