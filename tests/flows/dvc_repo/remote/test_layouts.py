"""Results that DVC 2 recorded: its dvc.lock has no name of the hash, and its caches and remotes have another layout."""

import shutil
from pathlib import Path

import pytest

from flows.dvc_repo import remotes
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import make_plan, outcomes, run_as_planned, status, succeeded
from tests.flows.engine.test_tracked_data import planned, run_with_pull
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote, push

PIPELINE = """
stages:
  make: {cmd: echo >> make.runs; mkdir -p out; cp in out/one, deps: [in], outs: [out]}
  join: {cmd: echo >> join.runs; cat out/one > joined; echo joined >> joined, deps: [out/one], outs: [joined]}
"""
METRIC = "  score: {cmd: echo >> score.runs; cp in score, deps: [in], metrics: [score: {cache: false}]}\n"
RESTORED = {"make": Outcome.RESTORED, "join": Outcome.RESTORED}


def make_project(folder: Path) -> None:
    """Makes a project with results in the form of DVC 2."""
    Toy(folder).write({"dvc.yaml": PIPELINE, "in": "one\n"})
    assert run_engine().error is None
    record_as_dvc_2(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, with an empty remote."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    add_remote(tmp_path / "store")
    return toy


def record_as_dvc_2(folder: Path) -> None:
    """Give dvc.lock and the cache the form of DVC 2; the run cache is lost. The hashes of these files are the same."""
    lock, cache = folder / "dvc.lock", folder / ".dvc/cache"
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if line.strip() != "hash: md5"))
    for path in sorted((cache / "files/md5").iterdir()):
        shutil.move(path, cache / path.name)
    shutil.rmtree(cache / "files")
    shutil.rmtree(cache / "runs")


def delete_outputs(folder: Path) -> None:
    """Delete what the stages made."""
    shutil.rmtree(folder / "out")
    (folder / "joined").unlink()


def test_results_in_the_cache(project: Toy) -> None:
    """They are unchanged, and deleted outputs come back from the cache, as the plan says: also a part of them."""
    assert {decision.verdict for decision in make_plan().values()} == {Verdict.UNCHANGED}
    delete_outputs(project.folder)
    assert outcomes(run_as_planned()) == RESTORED
    shutil.rmtree(project.folder / "out")
    assert outcomes(run_as_planned()) == {"make": Outcome.RESTORED, "join": Outcome.UNCHANGED}
    assert status() == {}
    assert (project.runs("make"), project.runs("join")) == (1, 1)


def test_a_metric_in_git(toy: Toy) -> None:
    """A deleted metric that DVC does not cache as an output comes back from the cache too."""
    toy.write({"dvc.yaml": f"stages:\n{METRIC}", "in": "one\n"})
    assert run_engine().error is None
    record_as_dvc_2(toy.folder)
    (toy.folder / "score").unlink()
    assert outcomes(run_as_planned()) == {"score": Outcome.RESTORED}
    assert toy.runs("score") == 1


def test_results_in_the_remote(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The check of the remote finds them there, and with --pull they are restored, as the plan says."""
    assert remotes.missing_in_remote(Path()) == {"make": ["out"], "join": ["joined"]}
    push()
    assert remotes.missing_in_remote(Path()) == {}
    delete_outputs(project.folder)
    shutil.rmtree(".dvc/cache")
    assert planned(capsys) == {"make": "run", "join": "may run"}
    assert planned(capsys, "--pull") == {"make": "restore", "join": "restore"}
    assert outcomes(succeeded(run_with_pull())) == RESTORED
    assert project.read("joined") == "one\njoined\n"
    assert (project.runs("make"), project.runs("join")) == (1, 1)


def test_run_cache(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries of the run cache that name such outputs are pushed with them, and restore them elsewhere."""
    delete_outputs(project.folder)
    run_as_planned()  # adds the entries, in the form of DVC 2
    assert remotes.push_run_cache(Path()) == 2
    assert remotes.missing_in_remote(Path()) == {}
    delete_outputs(project.folder)
    shutil.rmtree(".dvc/cache")
    assert planned(capsys, "--pull") == {"make": "restore", "join": "restore"}
    assert outcomes(succeeded(run_with_pull())) == RESTORED


def test_a_changed_input(project: Toy) -> None:
    """Stages that run again are recorded in the form of DVC 3, and restored from its layout."""
    project.write({"in": "two\n"})
    assert outcomes(run_as_planned()) == {"make": Outcome.RAN, "join": Outcome.RAN}
    assert project.read("dvc.lock").count("hash: md5") == 4
    delete_outputs(project.folder)
    assert outcomes(run_as_planned()) == RESTORED
    assert status() == {}
