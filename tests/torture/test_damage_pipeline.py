"""Damaged outputs and inputs of the pipeline, and the commands that read them."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.conftest import Project
from tests.torture import test_damage_state
from tests.torture.conftest import Rounds, Try
from tests.torture.support.damage import DAMAGES, plan_problem, problem, write_damage
from tests.torture.support.forked import Forked, Outcome, forking
from tests.torture.support.kinds import unnamed
from tests.torture.support.snapshot import Snapshot

SEED = 17
FEW = 12  # kinds of files in `make test-farm`
TINY = {"network": "dense", "units": [16], "optimizer": {"name": "adam"}, "batch_size": 64, "epochs": 1}
OUTPUTS = ("data", "models", "evaluation", "reports", "dvc.lock")
EXPORTED = "scores/dense.tflite"
READERS = {
    "plan": ("plan",),
    "run": ("run", "--no-server"),
    "status": ("status",),
    "check": ("check", "--json"),
    "report": ("report", "--json"),
    "runs": ("report", "--runs", "--json"),
    "compare": ("compare", "HEAD", "--json"),
    "predict": ("predict", "dense", "inbox", "--csv"),
    "registered": ("predict", "dense@prod", "inbox", "--csv"),
    "score": ("--model=dense", "--folder=inbox", "--out=scores/new.parquet", "--no-watch"),
    "export": ("export", "dense", "--format", "litert", "--out", EXPORTED),
    "kept": ("predict", ".inkflow/models/dense@v0.0.1/model.onnx", "inbox", "--csv"),
    "models": ("models",),
    "monitor": ("monitor",),
}
SHOWS_CHANGES = {"plan", "run", "runs"}  # another output is how they notice; what `run` made is compared by itself
MODEL = ("plan", "run", "predict", "score", "report", "check")
SLOW = ("export", "check", "compare")  # they start programs, with TensorFlow or the report's libraries


class Kind(NamedTuple):
    """Files of one kind, by a pattern; the commands that read them; another valid file of the kind."""

    pattern: str
    readers: tuple[str, ...]
    other: str = ""


KINDS = {
    "raw data": Kind("data/raw/dataset.npz", ("plan", "run", "check"), "data/raw/groups.npz"),
    "groups": Kind("data/raw/groups.npz", ("plan", "run", "check"), "data/raw/dataset.npz"),
    "description of the data": Kind("data/raw/dataset.json", ("plan", "run", "check", "status")),
    "checked parameters": Kind("data/params_valid.txt", ("plan", "run")),
    "prepared arrays": Kind("data/prepared/*.npy", ("plan", "run", "export"), "data/prepared/y_train.npy"),
    "prepared.json": Kind("data/prepared/prepared.json", ("plan", "run", "export")),
    "Keras model": Kind("models/dense/model.keras", ("plan", "run", "export"), "models/dense/seeds/1/model.keras"),
    "ONNX model": Kind("models/dense/model.onnx", (*MODEL, "export"), "models/dense/seeds/1/model.onnx"),
    "training.json": Kind("models/dense/training.json", MODEL, "models/dense/seeds/1/training.json"),
    "history.csv": Kind("models/dense/history.csv", ("plan", "run", "check"), "models/dense/seeds/1/history.csv"),
    "validation.json": Kind("models/dense/validation.json", ("plan", "run", "check", "runs")),
    "models of the seeds": Kind("models/dense/seeds/*/model.onnx", ("plan", "run"), "models/dense/model.keras"),
    "records of the seeds": Kind("models/dense/seeds/*/training.json", ("plan", "run")),
    "metrics": Kind("evaluation/dense/metrics.json", ("plan", "run", "check", "compare", "runs")),
    "predictions": Kind("evaluation/dense/predictions.parquet", ("plan", "run", "check", "compare", "runs")),
    "confusion matrix": Kind("evaluation/dense/confusion.csv", ("plan", "run")),
    "page": Kind("reports/index.html", ("plan", "run", "report")),
    "record of the gates": Kind("reports/gates.json", ("plan", "run", "status", "predict", "score")),
    "tables of the report": Kind("reports/[!.]*.*", ("plan", "run")),
    "tables of the plots": Kind("reports/plots/[!.]*", ("plan", "run")),
}
STATE = {
    "durations": Kind(".inkflow/timings.json", ("plan", "run")),
    "records of runs": Kind(".inkflow/runs/*.jsonl", ("runs",)),
    "durations of trainings and answers": Kind(".inkflow/timings/*.json", ("report",)),
    "records of watched models": Kind(".inkflow/watch/*.json", ("monitor", "status", "score")),
    "kept models": Kind(".inkflow/models/*/model.onnx", ("registered", "kept"), "models/dense/model.keras"),
    "records of kept models": Kind(".inkflow/models/*/version.json", ("registered", "kept")),
    "other files of kept models": Kind(".inkflow/models/*/*", ("registered",)),
    "tags of versions and stages": Kind(".git/refs/tags/dense*", ("models", "registered", "status")),
    "files in use": Kind(".dvc/tmp/rwlock", ("plan", "status")),
    "earlier code": Kind(".dvc/tmp/inkflow/code/*", ("plan",)),
}


class Damaged:
    """A trained project, whose files are damaged one at a time and come back."""

    def __init__(self, folder: Path, inkflow: Forked, snapshot: Snapshot) -> None:
        self.folder, self._inkflow, self._snapshot = folder, inkflow, snapshot
        self._undamaged: dict[str, Outcome] = {}
        self._exported: bytes | None = None
        self.outputs = self.content()
        lock = YAML(typ="safe").load(folder / "dvc.lock")["stages"]
        self._stages: dict[str, str] = {out["path"]: name for name, stage in lock.items() for out in stage["outs"]}

    def run(self, reader: str) -> Outcome:
        """Runs a command that reads files."""
        return self._inkflow(*READERS[reader], folder=self.folder, module="predict.score" if reader == "score" else "")

    def content(self) -> dict[str, bytes]:
        """Returns the content of all outputs."""
        files = (path for name in OUTPUTS for path in ((self.folder / name).rglob("*"), [self.folder / name]))
        paths = sorted(path for group in files for path in group if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def problem(self, reader: str, path: Path, content: bytes) -> str | None:
        """Writes a damaged `content`, runs `reader`, brings everything back, and returns what went wrong."""
        if reader not in self._undamaged:
            self._undamaged[reader] = self.run(reader)
            if reader == "export":
                self._exported = self.exported()
                assert self._exported, self._undamaged[reader]
            self._snapshot.restore()
        write_damage(self.folder / path, content)
        names = (path.name, str(path))
        try:
            outcome = self.run(reader)
            found = problem(outcome, self._undamaged[reader], names, may_differ=reader in SHOWS_CHANGES)
            return found if found or outcome.code else self._wrong_result(reader, outcome, names)
        finally:
            self._snapshot.restore()

    def _wrong_result(self, reader: str, outcome: Outcome, names: tuple[str, str]) -> str | None:
        """Returns what is wrong with what a command without errors has shown or made."""
        if reader == "plan" and not names[1].startswith("."):
            return plan_problem(outcome, self._undamaged[reader], names, self.stage(names[1]))
        if reader == "export":
            return None if self.exported() == self._exported else f"another export: {outcome}"
        if reader != "run":
            return None
        after = self.content()
        others = [name for name in self.outputs | after if self.outputs.get(name) != after.get(name)]
        return f"other outputs: {', '.join(others[:5])}" if others else None

    def exported(self) -> bytes | None:
        """Returns the file that the reader `export` has written, if it has."""
        path = self.folder / EXPORTED
        return path.read_bytes() if path.exists() else None

    def stage(self, path: str) -> str:
        """Returns the stage whose output a file is, or is in."""
        return next(self._stages[str(each)] for each in (Path(path), *Path(path).parents) if str(each) in self._stages)


@pytest.fixture
def damaged(tmp_path: Path, shared_cache: Path, rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> Iterator[Damaged]:
    """The digits with small models, trained, committed, registered, and asked for their answers.

    In `make test-farm` they are those of the other tests, without seeds: one of these tests trains them.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    is_thorough = bool(rounds(0, 1))
    project = Project(folder, folder / ".dvc" / "cache" if is_thorough else shared_cache)
    if is_thorough:
        project.set({"prepare.samples": [0, 400], "models": {"dense": TINY | {"seeds": [1, 2]}}})
    (folder / "inbox").mkdir()
    np.save(folder / "inbox" / "some.npy", np.random.default_rng(SEED).integers(0, 256, (3, 28, 28), np.uint8))
    identity = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t.example"}
    identity |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t.example"}
    environment = os.environ | identity | {"DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    with forking(tmp_path / "texts", environment) as inkflow:
        for words in (["run", "--no-server"], ["commit"], ["promote", "dense", "prod", "--force", "a trial"]):
            if words == ["commit"]:
                subprocess.run(["git", "add", "-A"], check=True, env=environment)
                subprocess.run(["git", "commit", "-qm", "trained"], check=True, env=environment)
            else:
                outcome = inkflow(*words, folder=folder)
                assert outcome.code == 0, outcome
        watching = READERS["score"][:-1]
        assert inkflow(*watching, folder=folder, module="predict.score").code == 0
        assert inkflow("predict", "dense@prod", "inbox", folder=folder).code == 0
        assert inkflow("report", "--json", folder=folder).code == 0
        yield Damaged(folder, inkflow, Snapshot(folder, tmp_path / "snapshot", skip=("docs", "tests")))


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.farm
def test_a_damaged_output_is_noticed_or_made_again(damaged: Damaged, promise: Try, rounds: Rounds) -> None:
    """No command takes a damaged file for a result: it names the file, or the run makes the same bytes again."""
    sentence = "A damaged file of the pipeline is named in one sentence or made again with the same bytes."
    how = "a bit flipped, cut short, emptied or replaced in each kind of output, and the commands that read it; "
    how += "`report --runs` may show the change"
    chance, many = random.Random(SEED), rounds(0, 1)
    with promise("Damaged files", sentence, how) as tried:
        with tried.verdict("a kind of file that the table lacks"):
            tables = (STATE, test_damage_state.KINDS)
            assert unnamed(damaged.folder, [kind.pattern for table in tables for kind in table.values()]) == []
        kinds = [*(KINDS | STATE).items()]
        for name, kind in kinds if many else chance.sample(kinds, FEW):
            files = sorted(path.relative_to(damaged.folder) for path in damaged.folder.glob(kind.pattern))
            assert files or not many, f"no file is of the kind {name}: {kind.pattern}"
            other = damaged.folder / (kind.other if many else kind.other.replace("dense/seeds/1", "cnn"))
            others = {"replaced": other.read_bytes()} if kind.other else {}
            ways = [*DAMAGES, *others]
            quick = [reader for reader in kind.readers if reader not in SLOW]
            pairs = [(way, reader) for way in ways for reader in quick]
            slow = [(chance.choice(ways), reader) for reader in kind.readers if reader in SLOW]
            for way, reader in [*pairs, *slow] if many else chance.sample(pairs, min(1, len(files))):
                path, number = chance.choice(files), chance.randrange(10**6)
                old = (damaged.folder / path).read_bytes()
                new = others[way] if way in others else DAMAGES[way](old, random.Random(number))
                if new != old:
                    with tried.attempt(f"{name}, {path} {way} ({number}), {reader}"):
                        found = damaged.problem(reader, path, new)
                        assert found is None, found
