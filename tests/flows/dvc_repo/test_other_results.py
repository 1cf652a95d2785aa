"""A stage whose recorded outputs exist in no cache is restored to another result for the same inputs.

The variable CHIP plays the processor: the stages write its value into their outputs.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.core.errors import PolicyInvalid
from flows.dvc_repo import remotes
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import Verdict
from flows.engine.policy import Policies, load_policies
from flows.engine.types import Outcome
from tests.conftest import Toy
from tests.flows.engine.helpers import (
    delete_cache,
    dvc_repro,
    locks,
    make_plan,
    outcomes,
    run_as_planned,
    status,
    twin,
)
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote, commit

CHAIN = """
stages:
  same: {cmd: echo >> same.runs; cp in same, deps: [in], outs: [same]}
  train:
    cmd: echo >> train.runs; mkdir -p model; cp same model/same; echo $CHIP > model/weights; echo 1 > score
    deps: [same]
    outs: [model]
    metrics: [score: {cache: false}]
  last: {cmd: echo >> last.runs; cat model/weights score > last, deps: [model, score], outs: [last]}
"""
OTHER = "another result for the same inputs; dvc.lock names one that no cache here has"
OUTPUTS = ("same", "model", "score", "last")


def make_chain(folder: Path) -> None:
    """Makes a project whose dvc.lock is that of the chip `theirs`, and whose cache and outputs are those of `ours`."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": CHAIN, "in": "one\n"})
    with pytest.MonkeyPatch.context() as patch:
        make_result(patch, "theirs")
        lock = toy.read("dvc.lock")
        delete_cache(toy.folder)
        delete_outputs(toy.folder)
        make_result(patch, "ours")
    toy.write({"ours.lock": toy.read("dvc.lock"), "dvc.lock": lock})


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, on the chip `ours`."""
    monkeypatch.setenv("CHIP", "ours")
    return copied_toy(make_chain, tmp_path / "toy", monkeypatch)


def make_result(monkeypatch: pytest.MonkeyPatch, chip: str) -> None:
    """Runs the stages that `chip` changes."""
    monkeypatch.setenv("CHIP", chip)
    run_as_planned()


def delete_outputs(folder: Path) -> None:
    """Deletes all outputs from the workspace."""
    for name in OUTPUTS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def runs(toy: Toy) -> list[int]:
    """Returns how often each stage ran."""
    return [toy.runs(name) for name in ("same", "train", "last")]


def entries(toy: Toy, text: str) -> list[Path]:
    """Returns the run-cache entries that contain `text`, the newest first."""
    paths = [path for path in (toy.folder / ".dvc/cache/runs").glob("??/*/*") if text in path.read_text()]
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


@pytest.mark.cases(1)
@pytest.mark.parametrize("is_clean", [False, True], ids=["outputs in place", "outputs deleted"])
def test_chain_is_restored(chain: Toy, is_clean: bool) -> None:
    """A stage with another result and all behind it are restored, the plan says so, and dvc.lock is as committed."""
    before = runs(chain)
    if is_clean:
        delete_outputs(chain.folder)
    decisions = make_plan()
    assert decisions["train"].reasons == (OTHER,)
    assert "model changed" in decisions["last"].reasons
    results = run_as_planned()
    assert outcomes(results) == {
        "same": Outcome.RESTORED if is_clean else Outcome.UNCHANGED, "train": Outcome.RESTORED,
        "last": Outcome.RESTORED,
    }  # fmt: skip
    assert results["train"].message == f"restored from the run cache: {OTHER}"
    assert runs(chain) == before
    assert chain.read("last") == "ours\n1\n"
    assert chain.read("dvc.lock") == chain.read("ours.lock")
    assert status() == {}
    commit()
    assert chain.read("dvc.lock") == chain.read("ours.lock")
    assert set(outcomes(run_as_planned()).values()) == {Outcome.UNCHANGED}


def test_command_line(chain: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan --json` has the reason, and the summary of `run` counts the stages with another result."""
    assert main(["plan", "--json"]) == 0
    rows = {row["stage"]: row for row in json.loads(capsys.readouterr().out)["stages"]}
    assert (rows["train"]["verdict"], rows["train"]["reasons"]) == ("restore", [OTHER])
    assert main(["run", "--no-server"]) == 0
    output = capsys.readouterr().out
    assert f"restored from the run cache: {OTHER}" in output
    assert "0 of 3 stages ran, 2 restored, 1 with another result than dvc.lock named" in output


def test_switched_off(chain: Toy) -> None:
    """With `other_results: run`, plan and run do what `dvc repro` does."""
    chain.write({"execution.yaml": "other_results: run\n"})
    copy = twin(chain.folder)
    assert make_plan()["train"].verdict is Verdict.RUN
    before = runs(chain)
    run_as_planned()
    dvc_repro(copy)
    assert runs(chain) == [before[0], before[1] + 1, before[2]]
    assert locks(chain.folder) == locks(copy)


def test_newest_complete_result(chain: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several results the newest one is restored that is neither truncated nor damaged, and dvc.lock names it."""
    lock = chain.read("dvc.lock")
    for chip in ("second", "damaged", "truncated"):
        monkeypatch.setenv("CHIP", chip)
        assert main(["run", "--no-server", "--force", "train"]) == 0
    for number, path in enumerate(reversed(entries(chain, "path: model\n    hash: md5\n    md5:"))):
        os.utime(path, (1e9 + number, 1e9 + number))
    newest = entries(chain, "mkdir -p model")[:2]
    newest[0].write_text(newest[0].read_text()[:-30])
    delete_outputs(chain.folder)
    damaged = next(path for path in (chain.folder / ".dvc/cache/files").rglob("*") if _is_text(path, "damaged\n"))
    damaged.chmod(0o644)
    damaged.write_text("x")
    chain.write({"dvc.lock": lock})
    assert outcomes(run_as_planned())["train"] is Outcome.RESTORED
    assert chain.read("model/weights") == "second\n"
    assert status() == {}


def _is_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def test_recorded_result_is_preferred(chain: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that dvc.lock names and the cache has is restored, although another one is newer."""
    chain.write({"dvc.lock": chain.read("ours.lock")})
    monkeypatch.setenv("CHIP", "newer")
    assert main(["run", "--no-server", "--force", "train"]) == 0
    chain.write({"dvc.lock": chain.read("ours.lock")})
    delete_outputs(chain.folder)
    assert set(outcomes(run_as_planned()).values()) == {Outcome.RESTORED}
    assert chain.read("last") == "ours\n1\n"


def test_outputs_in_the_workspace_are_not_overwritten(chain: Toy) -> None:
    """If the workspace still has the recorded outputs, which the cache has lost, no other result replaces them."""
    delete_outputs(chain.folder)
    chain.write({"model/same": "one\n", "model/weights": "theirs\n", "score": "1\n"})
    assert make_plan()["train"].verdict is Verdict.RUN


def test_changed_inputs(chain: Toy) -> None:
    """A stage with other inputs is not restored to a result for the earlier ones."""
    chain.write({"in": "two\n"})
    assert make_plan()["train"].verdict is Verdict.MAY_RUN
    assert outcomes(run_as_planned())["train"] is Outcome.RAN


def test_remote(chain: Toy, tmp_path: Path) -> None:
    """With `--pull`, and not without, a result that only the remote has is restored."""
    add_remote(tmp_path / "store")
    remotes.push_run_cache(Path())
    delete_cache(chain.folder)
    delete_outputs(chain.folder)
    before = runs(chain)
    assert make_plan()["train"].verdict is Verdict.MAY_RUN
    assert main(["run", "--no-server", "--pull"]) == 0
    assert runs(chain) == before
    assert chain.read("last") == "ours\n1\n"
    assert chain.read("dvc.lock") == chain.read("ours.lock")
    assert status() == {}


def test_remote_without_the_objects(chain: Toy, tmp_path: Path) -> None:
    """A result whose files the remote has lost is not restored: the stage runs."""
    add_remote(tmp_path / "store")
    remotes.push_run_cache(Path())
    delete_cache(chain.folder)
    delete_outputs(chain.folder)
    for path in (tmp_path / "store/files").rglob("*.dir"):
        path.unlink()
    remotes.pull_run_cache(Path())
    with Repository(pull=True) as repository:
        assert repository.cache.restorable("train", {}) is None
    before = runs(chain)
    assert main(["run", "--no-server", "--pull"]) == 0
    assert runs(chain)[1] == before[1] + 1


def test_key_of_execution_yaml(toy: Toy) -> None:
    """`other_results` alone makes execution.yaml ours; another value is refused, and `results` is another program's."""
    toy.write({"execution.yaml": "other_results: run\n"})
    assert load_policies(Path()).other_results == "run"
    for text in ("other_results: rerun\n", "other_result: run\n"):
        toy.write({"execution.yaml": text})
        with pytest.raises(PolicyInvalid, match="other_result"):
            load_policies(Path())
    toy.write({"execution.yaml": "results: here\n"})
    assert load_policies(Path()) == Policies()
