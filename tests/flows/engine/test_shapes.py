"""Graphs of many shapes: as `dvc repro` would have done it, only side by side, and as the plan had said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.engine.types import Outcome
from tests.conftest import Toy
from tests.flows.engine.shapes import CHAIN, FOLDERS, SHAPES
from tests.flows.engine.toys import (
    counts,
    dvc,
    dvc_repro,
    forget_cache,
    locks,
    outcomes,
    run_as_planned,
    status,
    twin,
)

Edit = Callable[[Path], None]


def speed_up(folder: Path) -> None:
    """A parameter gets a new value."""
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("speed: 1", "speed: 2"))


def slow_down(folder: Path) -> None:
    """The parameter gets its old value back."""
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("speed: 2", "speed: 1"))


def edit_input(folder: Path) -> None:
    """The file that the first stage reads gets new content."""
    (folder / "in").write_text("two, and longer\n")


def edit_input_back(folder: Path) -> None:
    """It gets its old content back."""
    (folder / "in").write_text("one\n")


def delete_outputs(folder: Path) -> None:
    """Whatever the commands wrote into the root folder is deleted."""
    given = {"in", "dvc.yaml", "dvc.lock", "params.yaml", "other.yaml", "more.json", "last.toml"}
    for path in folder.iterdir():
        if path.is_file() and path.name not in given and path.suffix != ".runs" and path.name[0] != ".":
            path.unlink()


def lose_contents(folder: Path) -> None:
    """DVC's cache loses its contents; the run cache still speaks of them."""
    forget_cache(folder, runs=False)


def reword_command(folder: Path) -> None:
    """The first command that reads `in` is written otherwise."""
    text = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(text.replace("cat in", "cat  in", 1))


EDITS: list[Edit] = [
    speed_up, slow_down, edit_input, edit_input_back, delete_outputs, lose_contents, reword_command,
]  # fmt: skip


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, toy: Toy) -> Toy:
    """One of the shapes, made in the current folder."""
    toy.write(SHAPES[request.param])
    return toy


def test_as_dvc_repro(shape: Toy) -> None:
    """After a first run `dvc status` is clean, each command ran once, and dvc.lock is what `dvc repro` writes."""
    copy = twin(shape.folder)
    results = run_as_planned()
    assert status() == {}
    assert set(counts(shape.folder).values()) == {1}
    dvc_repro(copy)
    assert locks(shape.folder) == locks(copy)
    assert counts(shape.folder) == counts(copy)
    again = run_as_planned()
    assert outcomes(again) == {
        name: Outcome.RAN if "always" in shape.read("dvc.yaml") and name == "a" else Outcome.UNCHANGED
        for name in results
    }


def test_as_planned_after_edits(shape: Toy) -> None:
    """After each kind of edit the run does what the plan said, leaves a clean status, and DVC's own dvc.lock."""
    copy = twin(shape.folder)
    run_as_planned()
    dvc_repro(copy)
    for edit in EDITS:
        edit(shape.folder)
        edit(copy)
        run_as_planned()
        dvc_repro(copy)
        assert status() == {}, edit.__name__
        assert locks(shape.folder) == locks(copy), edit.__name__
        assert counts(shape.folder) == counts(copy), edit.__name__


def test_tracked_data(toy: Toy) -> None:
    """Data that `dvc add` tracks is an input like any: edited, it is recorded, and what reads it runs."""
    toy.write({"dvc.yaml": FOLDERS["dvc.yaml"], "params.yaml": FOLDERS["params.yaml"], "in": "one\n"})
    dvc("add", "in")
    run_as_planned()
    assert status() == {}
    (toy.folder / "in").unlink()
    assert outcomes(run_as_planned())["in.dvc"] is Outcome.RESTORED
    assert toy.read("in") == "one\n"
    toy.folder.joinpath("in").unlink()
    toy.write({"in": "two\n"})
    run_as_planned()
    assert status() == {}
    assert toy.read("inner") == "two\n"


def test_frozen(toy: Toy) -> None:
    """A frozen stage stays as it is whatever happens to what it reads; deleted, its output comes back."""
    toy.write(CHAIN)
    run_as_planned()
    toy.write({"in": "two\n", "dvc.yaml": CHAIN["dvc.yaml"].replace("outs: [b]", "outs: [b], frozen: true")})
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN, "b": Outcome.UNCHANGED, "c": Outcome.UNCHANGED}
    (toy.folder / "b").unlink()
    assert outcomes(run_as_planned())["b"] is Outcome.RESTORED
    assert toy.read("b") == "one\n"
    assert status() == {}


def test_frozen_output_edited(toy: Toy) -> None:
    """An edited output of a frozen stage is recorded as it is, as `dvc repro` does, and what reads it runs."""
    toy.write(CHAIN)
    run_as_planned()
    toy.write({"dvc.yaml": CHAIN["dvc.yaml"].replace("outs: [b]", "outs: [b], frozen: true")})
    copy = twin(toy.folder)
    for folder in (toy.folder, copy):
        (folder / "b").unlink()
        (folder / "b").write_text("by hand\n")
    run_as_planned()
    dvc_repro(copy)
    assert toy.read("c") == "by hand\n"
    assert locks(toy.folder) == locks(copy)
    assert status() == {}
