"""Graphs of many shapes: a run gives the same result as `dvc repro`, in parallel, and follows the plan."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.dvc_repo.repository import Repository
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.graphs import CHAIN, FOLDERS, GRAPHS
from tests.flows.engine.helpers import (
    counts,
    delete_cache,
    dvc,
    dvc_repro,
    locks,
    outcomes,
    run_as_planned,
    status,
    twin,
)
from tests.support.dvc_calls import import_url

Edit = Callable[[Path], None]


def speed_up(folder: Path) -> None:
    """Changes a parameter."""
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("speed: 1", "speed: 2"))


def slow_down(folder: Path) -> None:
    """Undoes `speed_up`."""
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("speed: 2", "speed: 1"))


def edit_input(folder: Path) -> None:
    """Changes the input of the first stage."""
    (folder / "in").write_text("two, and longer\n")


def undo_edit_input(folder: Path) -> None:
    """Undoes `edit_input`."""
    (folder / "in").write_text("one\n")


def delete_outputs(folder: Path) -> None:
    """Deletes the files that the commands wrote into the root folder."""
    inputs = {"in", "dvc.yaml", "dvc.lock", "params.yaml", "other.yaml", "more.json", "last.toml"}
    for path in folder.iterdir():
        if path.is_file() and path.name not in inputs and path.suffix != ".runs" and path.name[0] != ".":
            path.unlink()


def delete_contents(folder: Path) -> None:
    """Deletes the contents in DVC's cache, but not the run cache, which refers to them."""
    delete_cache(folder, runs=False)


def reword_command(folder: Path) -> None:
    """Changes the text of the first command that reads `in`, but not its effect."""
    text = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(text.replace("cat in", "cat  in", 1))


EDITS: list[Edit] = [
    speed_up, slow_down, edit_input, undo_edit_input, delete_outputs, delete_contents, reword_command,
]  # fmt: skip
SOME_EDITS = [speed_up, slow_down, delete_contents]  # the other ones are made in `make test-farm`


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest, toy: Toy) -> Toy:
    """A project with one of the graphs, in the current folder."""
    toy.write(GRAPHS[request.param])
    return toy


@pytest.mark.farm
def test_same_as_dvc_repro(graph: Toy) -> None:
    """After a first run `dvc status` is clean, each command ran once, and dvc.lock is equal to that of `dvc repro`."""
    copy = twin(graph.folder)
    results = run_as_planned()
    assert status() == {}
    assert set(counts(graph.folder).values()) == {1}
    dvc_repro(copy)
    assert locks(graph.folder) == locks(copy)
    assert counts(graph.folder) == counts(copy)
    second = run_as_planned()
    assert outcomes(second) == {
        name: Outcome.RAN if "always" in graph.read("dvc.yaml") and name == "a" else Outcome.UNCHANGED
        for name in results
    }


@pytest.mark.parametrize(
    ("graph", "edits"),
    [
        pytest.param("shared folder", SOME_EDITS, id="some in a shared folder"),
        *(pytest.param(name, EDITS, id=name, marks=pytest.mark.farm) for name in GRAPHS),
    ],
    indirect=["graph"],
)
def test_same_as_dvc_repro_after_edits(graph: Toy, edits: list[Edit]) -> None:
    """After each kind of edit the run follows the plan, the status is clean, and dvc.lock is that of `dvc repro`."""
    copy = twin(graph.folder)
    run_as_planned()
    dvc_repro(copy)
    for edit in edits:
        edit(graph.folder)
        edit(copy)
        run_as_planned()
        dvc_repro(copy)
        assert status() == {}, edit.__name__
        assert locks(graph.folder) == locks(copy), edit.__name__
        assert counts(graph.folder) == counts(copy), edit.__name__


@pytest.mark.farm
def test_tracked_data(toy: Toy) -> None:
    """Data that `dvc add` tracks is restored if it is missing, and recorded if it is edited; its readers then run."""
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
    """A frozen stage does not run when its inputs change, and its output is restored if it is missing."""
    toy.write(CHAIN)
    run_as_planned()
    toy.write({"in": "two\n", "dvc.yaml": CHAIN["dvc.yaml"].replace("outs: [b]", "outs: [b], frozen: true")})
    assert outcomes(run_as_planned()) == {"a": Outcome.RAN, "b": Outcome.UNCHANGED, "c": Outcome.UNCHANGED}
    (toy.folder / "b").unlink()
    assert outcomes(run_as_planned())["b"] is Outcome.RESTORED
    assert toy.read("b") == "one\n"
    assert status() == {}


def test_frozen_output_edited(toy: Toy) -> None:
    """An edited output of a frozen stage is recorded, as by `dvc repro`, and its readers run."""
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


def test_frozen_stages_behind_stages_that_run(toy: Toy) -> None:
    """Edited outputs of a frozen stage and of a frozen import are recorded with the dependencies of `dvc repro`.

    DVC takes the import before the stage `a`, on which both depend, and the frozen stage after it.
    """
    toy.write(CHAIN)
    run_as_planned()
    import_url(Path("a"), "copied")
    toy.write({"in": "two\n", "dvc.yaml": CHAIN["dvc.yaml"].replace("outs: [b]", "outs: [b], frozen: true")})
    for name in ("b", "copied"):
        (toy.folder / name).unlink()
        toy.write({name: "by hand\n"})
    copy = twin(toy.folder)
    with Repository() as repository:
        waits_for = {stage.name: stage.waits_for for stage in repository.stages()}
    assert waits_for == {"copied.dvc": (), "a": ("copied.dvc",), "b": ("a",), "c": ()}
    run_as_planned()
    dvc_repro(copy)
    assert locks(toy.folder) == locks(copy)
    assert toy.read("copied.dvc") == (copy / "copied.dvc").read_text()


def test_frozen_stage_behind_a_failed_one(toy: Toy) -> None:
    """A frozen stage is recorded although the stage that makes its dependencies fails."""
    toy.write(CHAIN)
    run_as_planned()
    frozen = CHAIN["dvc.yaml"].replace("outs: [b]", "outs: [b], frozen: true")
    toy.write({"dvc.yaml": frozen.replace("cmd: ", "cmd: exit 1; ", 1)})
    (toy.folder / "b").unlink()
    toy.write({"b": "by hand\n"})
    run = run_engine(jobs=2, keep_going=True)
    assert list(run.errors) == ["a"]
    assert [(item.stage, item.outcome) for item in run.results] == [("b", Outcome.RECORDED), ("c", Outcome.RAN)]
