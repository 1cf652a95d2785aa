"""The executable bit of an output, which DVC records beside its hash, survives a restoration and a work pool."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from flows.dvc_repo.remote.stage_transfer import StageInputs, WorkerProject, configure
from flows.dvc_repo.repository import Repository
from flows.engine.planning.plan import Verdict
from flows.engine.planning.stage_facts import FileHash, is_executable
from flows.engine.types import Outcome
from flows.workers.order import Order
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import make_plan, outcomes, run_as_planned, status, succeeded
from tests.support.code_history import commit
from tests.support.dvc_calls import add_remote

MAKE = """import pathlib
tool = pathlib.Path("tool.sh")
tool.write_text("echo hi")
tool.chmod(0o755)
"""
MADE_BY_CODE = "stages:\n  mk: {cmd: python mk.py, deps: [mk.py], params: [p], outs: [tool.sh]}\n"
CHAIN = """
stages:
  exe: {cmd: 'echo "echo ${p}" > e.sh; chmod +x e.sh', params: [p], outs: [e.sh]}
  all: {cmd: 'mkdir bin; cp e.sh bin/e.sh; cp e.sh bin/f.sh; chmod -x bin/f.sh', deps: [e.sh], outs: [bin]}
  out: {cmd: ./e.sh > o.txt; bin/e.sh > p.txt, deps: [e.sh, bin/e.sh, bin/f.sh], outs: [o.txt, p.txt]}
"""
WITHOUT_FOLDER = """
stages:
  exe: {cmd: 'echo "echo ${p}" > e.sh; chmod +x e.sh', params: [p], outs: [e.sh]}
  out: {cmd: ./e.sh > o.txt, deps: [e.sh], params: [q], outs: [o.txt]}
"""


def executables(*names: str) -> list[bool]:
    """Returns for each file whether it is executable."""
    return [os.access(name, os.X_OK) for name in names]


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_comment_in_the_code_of_an_executable(toy: Toy, mode: int) -> None:
    """The output of code with another comment is restored as an executable, and dvc.lock goes on to say so.

    The code can be an executable file too: the plan and the run then look for it as one.
    """
    toy.write({"dvc.yaml": MADE_BY_CODE, "mk.py": MAKE, "params.yaml": "p: 1\n"})
    (toy.folder / "mk.py").chmod(mode)
    succeeded(run_engine())
    toy.write({"params.yaml": "p: 2\n"})
    assert run_as_planned()["mk"].outcome is Outcome.RAN
    commit()
    record = toy.read("dvc.lock").partition("outs:")[2]
    assert "isexec: true" in record
    for _ in range(2):
        toy.write({"mk.py": toy.read("mk.py") + "# a comment\n", "params.yaml": "p: 1\n"})
        Path("tool.sh").unlink()
        assert run_as_planned()["mk"].outcome is Outcome.RESTORED
        assert executables("tool.sh") == [True]
        assert toy.read("dvc.lock").partition("outs:")[2] == record
        assert status() == {}


def test_a_plan_behind_a_restored_executable(toy: Toy) -> None:
    """A plan says that the reader of an executable is restored with it: the bit is part of DVC's run-cache key."""
    toy.write({"dvc.yaml": WITHOUT_FOLDER})
    for p, q in ((1, 1), (2, 1), (2, 2)):
        toy.write({"params.yaml": f"p: {p}\nq: {q}\n"})
        run_as_planned()
    toy.write({"params.yaml": "p: 2\nq: 1\n"})
    assert outcomes(run_as_planned()) == {"exe": Outcome.UNCHANGED, "out": Outcome.RESTORED}
    for p in (1, 2):
        toy.write({"params.yaml": f"p: {p}\nq: 1\n"})
        Path("e.sh").unlink()
        verdicts = {name: decision.verdict for name, decision in make_plan().items()}
        assert verdicts == {"exe": Verdict.RESTORE, "out": Verdict.RESTORE}
        assert outcomes(run_as_planned()) == {"exe": Outcome.RESTORED, "out": Outcome.RESTORED}
        assert executables("e.sh") == [True]
        assert toy.read("o.txt") == f"{p}\n"


@pytest.fixture
def sent(toy: Toy, tmp_path: Path) -> tuple[StageInputs, dict[str, str]]:
    """The inputs of a stage with executables, pushed to the remote, and the remote's folder."""
    toy.write({"dvc.yaml": CHAIN, "params.yaml": "p: 1\n"})
    add_remote(tmp_path / "store")
    succeeded(run_engine())
    return push_inputs()


def push_inputs() -> tuple[StageInputs, dict[str, str]]:
    """Sends the inputs of the stage `out` as an orchestrator does."""
    with Repository() as repository:
        transfer = repository.transfer(5, threading.Event())
        assert repository.begin("out") or repository.begin("out")  # the first looks at a dvc.lock of this second again
        inputs = transfer.inputs("out")
        transfer.push_inputs("out", inputs)
        repository.abandon("out")
        return inputs, transfer.remote_folders


def worker_clone(toy: Toy, folder: Path) -> Path:
    """Makes the project's folder of a worker, without dvc.lock and outputs."""
    shutil.copytree(toy.folder / ".git", folder / ".git")
    shutil.copytree(toy.folder / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(toy.folder / name, folder / name)
    return folder


def check_out(folder: Path, inputs: StageInputs, names: list[str] | None) -> str:
    """Checks the inputs out as a worker does that is told the executables `names`, and returns the run-cache key."""
    project = WorkerProject(folder, 5, threading.Event())
    project.checkout_inputs("out", inputs.inputs, names)
    project.close()
    with Repository() as repository:
        return repository.run_key("out")


def test_executables_reach_a_worker(
    toy: Toy, tmp_path: Path, sent: tuple[StageInputs, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has the executable inputs of a stage as such, also those in a folder, and so the orchestrator's key.

    A later order with the same contents and other bits has its own key: the objects in the worker's cache keep theirs.
    """
    inputs, folders = sent
    assert inputs.executables == ["bin/e.sh", "e.sh"]
    folder = worker_clone(toy, tmp_path / "worker")
    configure(folder, tmp_path / "home", folders)
    monkeypatch.chdir(folder)
    assert check_out(folder, inputs, list(inputs.executables)) == inputs.run_key
    assert executables("e.sh", "bin/e.sh", "bin/f.sh") == [True, True, False]
    objects = [path for path in (tmp_path / "home/cache/files").rglob("*") if path.is_file()]
    assert objects
    assert not any(executables(*map(str, objects)))
    monkeypatch.chdir(toy.folder)
    for name in inputs.executables:
        Path(name).chmod(0o644)
    other, _ = push_inputs()
    assert (list(other.executables), dict(other.inputs)) == ([], dict(inputs.inputs))
    monkeypatch.chdir(folder)
    assert check_out(folder, other, []) == other.run_key != inputs.run_key
    assert not any(executables("e.sh", "bin/e.sh", "bin/f.sh"))


def test_an_order_of_an_older_version(
    toy: Toy, tmp_path: Path, sent: tuple[StageInputs, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order without the list of executables is accepted; the worker then has the bits that dvc.lock names.

    An order without executables has no such list, so that a worker of an older version accepts it.
    """
    inputs, folders = sent
    fields = {"stage": "out", "run_key": "k", "source": "here", "commit": "0" * 40, "inputs": dict(inputs.inputs)}
    order = Order.model_validate(fields)
    assert order.executables is None
    assert "executables" not in order.model_dump(exclude_none=True)
    folder = worker_clone(toy, tmp_path / "worker")
    shutil.copy(toy.folder / "dvc.lock", folder / "dvc.lock")
    configure(folder, tmp_path / "home", folders)
    monkeypatch.chdir(folder)
    check_out(folder, inputs, order.executables)
    assert executables("e.sh", "bin/e.sh") == [True, False]


def test_hashes_with_bits_are_equal() -> None:
    """The bit is no part of a comparison of contents: DVC runs no stage again for it."""
    assert FileHash("a", is_executable=True) == FileHash("a") == "a"
    assert is_executable(FileHash("a", is_executable=True))
    assert not is_executable(FileHash("a"))
    assert not is_executable("a")
