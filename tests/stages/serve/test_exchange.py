"""The server's exchange of its model: a version that could not be opened is tried again."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stages.base.files import write_json
from stages.predict.classifier import Classifier, open_classifier
from stages.serve import served_model
from stages.serve.served_model import ModelSlot, ServedModel
from tests.support.pictures import write_reader

Action = Callable[[], object]


class Project:
    """A server's model slot, the file that names its model, and the versions `one`, which is open, and `two`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source = folder, folder / "source.json"
        for name in ("one", "two"):
            write_reader(folder / name / "model.onnx", [f"{name} {digit}" for digit in range(10)])
            digest = hashlib.sha256((folder / name / "model.onnx").read_bytes()).hexdigest()
            write_json(folder / name / "version.json", {"version": name, "commit": "c" * 40, "sha256": digest})
        self.model = (folder / "two/model.onnx").read_bytes()
        self.point("one")
        self.slot = ModelSlot(self.source)

    def point(self, name: str) -> None:
        """Lets the file name a version."""
        write_json(self.source, {"folder": str(self.folder / name)})

    def replace(self, content: bytes) -> None:
        """Gives the model of version `two` another content."""
        (self.folder / "two/model.onnx").write_bytes(content)

    def follow(self, actions: Iterable[Action]) -> list[str]:
        """Does one action before each look of the slot, in place of the time between them; returns the log."""
        log: list[str] = []
        left = iter(actions)

        async def do_next(_: float) -> None:
            action = next(left, None)
            if action is None:
                raise asyncio.CancelledError
            action()

        async def run() -> None:
            with suppress(asyncio.CancelledError):
                await self.slot.follow(log.append, do_next)

        asyncio.run(run())
        return log


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A slot with both versions."""
    return Project(tmp_path)


def nothing() -> None:
    """Changes nothing before a look."""


def test_a_version_that_failed_comes_again(project: Project) -> None:
    """A version that could not be opened is opened at once if the stage comes back to it by way of the old one."""

    def roll_back() -> None:
        project.point("one")
        project.replace(project.model)

    project.replace(b"no model")
    log = project.follow([lambda: project.point("two"), roll_back, lambda: project.point("two")])
    assert project.slot.model.version == "two"
    assert [line.partition(" (")[0] for line in log[1:]] == ["now serving two"]
    assert "two is not used, one stays: " in log[0]


def test_a_failure_that_passes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that cannot be opened is tried after pauses that double up to a minute; each reason is logged once."""
    look, opened = 0, served_model.open_served_model
    tried: list[int] = []

    def noted(folder: Path, *, anyway: bool) -> ServedModel:
        tried.append(look)
        return opened(folder, anyway=anyway)

    def actions() -> Iterator[Action]:
        nonlocal look
        project.replace(b"no model")
        project.point("two")
        changes: dict[int, Action] = {100: (project.folder / "two/model.onnx").unlink}
        changes[300] = lambda: project.replace(project.model)
        for look in range(370):
            yield changes.get(look, nothing)

    monkeypatch.setattr(served_model, "open_served_model", noted)
    log = project.follow(actions())
    assert tried == [0, 2, 6, 14, 30, 62, 126, 246, 366]  # looks, of which there are two in a second
    assert project.slot.model.version == "two"
    assert ["two is not used, one stays: " in line for line in log] == [True, True, False]
    assert log[-1].startswith("now serving two (")


def test_a_file_that_a_run_replaces_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes, version and SHA-256 of a served model are those of one file, also if a run replaces it meanwhile."""
    path = tmp_path / "reader/model.onnx"
    write_reader(path, [f"old {digit}" for digit in range(10)])

    def replaced_after(found: Path) -> Classifier:
        classifier = open_classifier(found)
        if classifier.class_names[0] == "old 0":
            write_reader(tmp_path / "new.onnx", [f"new {digit}" for digit in range(10)])
            (tmp_path / "new.onnx").replace(path)
        return classifier

    monkeypatch.setattr(served_model, "open_classifier", replaced_after)
    model = served_model.open_served_model(path.parent)
    assert model.classifier.class_names[0] == "new 0"
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
