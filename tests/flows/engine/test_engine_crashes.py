"""A machine without memory for threads or room for files, and a crash of the engine: all that runs ends."""

import threading
from collections.abc import Callable

import pytest
from dvc.repo import Repo

from flows.core.signals import join
from flows.dvc_repo.inotify import WriteWatch
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import SilentDisplay
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from flows.engine.run_record import RunRecord
from stages.base.errors import InkflowError
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import succeeded
from tests.support.commands import run_python

LIMIT_S = 60.0
# Keeps what it prints until the limit is lifted, which counts for the file that takes its output too.
LIMITED = """
import contextlib, io, resource, sys
from flows.cli.main import _exit_code
text = io.StringIO()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(text):
    code = _exit_code()
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
sys.stderr.write(text.getvalue())
sys.exit(code)
"""


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the system refuse the threads of a name."""

    def refuse(name: str) -> None:
        start = threading.Thread.start

        def start_others(thread: threading.Thread) -> None:
            if thread.name == name:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_others)

    return refuse


def test_no_thread_for_a_stage(diamond: Toy, refuse: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage fails with one sentence, the other stages end, and the next run is right."""
    refuse("side@left")
    run = run_engine(jobs=2, keep_going=True)
    assert list(run.errors) == ["side@left"]
    assert "memory" in str(run.errors["side@left"])
    assert {result.stage for result in run.results} == {"source", "side@right"}
    assert list(run.not_run) == ["join"]
    monkeypatch.undo()
    monkeypatch.chdir(diamond.folder)
    succeeded(run_engine())
    assert diamond.read("joined") == "one\none\n"


@pytest.mark.parametrize("name", ["engine", "parameters"])
def test_no_thread_of_the_engine(diamond: Toy, refuse: Callable[[str], None], name: str) -> None:
    """Neither the interrupt of the run nor its end waits for a thread that does not run, or fails on it."""
    if name == "parameters":
        watch = WriteWatch()
        if watch.descriptor < 0:
            pytest.skip("the parameters are watched with inotify alone")
        watch.close()
    refuse(name)
    repository, run = Repository(), Run((), Options(), SilentDisplay())
    engine = Engine(repository, Policies(), run)
    if name == "engine":
        with pytest.raises(RuntimeError, match="new thread"):
            engine.start(repository.stages())
    else:
        engine.start(repository.stages())
    engine.interrupt()
    engine.close()


def test_a_crash_ends_each_stage(diamond: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error in the engine itself, tasks that follow a stage get a failure; `events` raises the error."""

    def fail(*_: object) -> None:
        raise LookupError("the record")

    monkeypatch.setattr(RunRecord, "ended", fail)
    repository, run = Repository(), Run((), Options(jobs=2), SilentDisplay())
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    followed, endings = [], []
    with pytest.raises(LookupError):
        for events in engine.events():
            task = threading.Thread(target=lambda events=events: endings.append(events.follow(str)))
            task.start()
            followed.append(task)
    engine.close()
    for task in followed:
        join(task, LIMIT_S)
        assert not task.is_alive()
    assert len(endings) == len(followed) > 0
    assert all(isinstance(ending, InkflowError) and "the record" in str(ending) for ending in endings)


def test_lock_file_that_cannot_be_written(toy: Toy) -> None:
    """DVC's lock, whose file a limit keeps from being written, is not held by the run that could not write it."""
    limit = "import resource, sys; resource.prlimit(int(sys.argv[1]), resource.RLIMIT_FSIZE, (0, -1))"
    stage = "stages:\n  a:\n    cmd: python limit.py $PPID; echo 1 > a\n    outs: [a]\n"
    toy.write({"limit.py": limit, "dvc.yaml": stage})
    run = run_python("-c", LIMITED, "run", "--no-server")
    assert run.returncode == 1
    assert run.stderr.count("error: ") == 1
    assert "cannot write" in run.stderr and ".dvc/tmp/lock: File too large" in run.stderr
    assert "Traceback" not in run.stderr
    with Repo() as repo, repo.lock:  # it is free
        pass
