"""Data that nobody makes, and what a remote holds: the plan promises what then happens, no more and no less."""

import json
import shutil

import pytest

from flows.cli.main import main
from flows.core.errors import DvcFailed
from flows.dvc_repo.repository import Repository
from flows.engine.engine import Engine
from flows.engine.planning.plan import Verdict
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.shapes import CHAIN, FOLDERS
from tests.flows.engine.toys import dvc, forget_cache, outcomes, plan_here, run_as_planned, status, succeeded

LOST = "in.dvc: in is not in the cache; `dvc pull` or `inkflow run --pull` brings it"


def run_with_pull() -> Run:
    """A run that may restore from the remote."""
    run, repository = Run(options=Options(jobs=2)), Repository(pull=True)
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    engine.wait()
    return run


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Verdict of each stage, as `inkflow plan --json` prints it."""
    capsys.readouterr()
    assert main(["plan", "--json", *arguments]) == 0
    return {stage["stage"]: stage["verdict"] for stage in json.loads(capsys.readouterr().out)["stages"]}


def lose_all(toy: Toy) -> None:
    """Empty the cache and the workspace: only the remote has results."""
    forget_cache(toy.folder)
    for name in ("tree", "inner", "whole", "part", "a", "b", "c"):
        path = toy.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("files", [CHAIN, FOLDERS], ids=["chain", "folders"])
def test_plan_with_the_remote(toy: Toy, capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    """What only the remote holds is planned to run, with --pull to be restored, as `run --pull` then does."""
    toy.write(files)
    dvc("remote", "add", "-d", "store", str(toy.folder.with_name("store")))
    results = run_as_planned()
    dvc("push", "--run-cache")
    lose_all(toy)
    assert set(planned(capsys).values()) == {"run", "may run"}
    assert planned(capsys, "--pull") == dict.fromkeys(results, "restore")
    assert not any((toy.folder / ".dvc/cache/files").rglob("*"))
    assert set(outcomes(succeeded(run_with_pull())).values()) == {Outcome.RESTORED}
    assert status() == {}


def test_plan_with_a_remote_that_lacks_some(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry of the run cache whose content the remote lost is not counted on."""
    toy.write(CHAIN)
    store = toy.folder.with_name("store")
    dvc("remote", "add", "-d", "store", str(store))
    run_as_planned()
    dvc("push", "--run-cache")
    lose_all(toy)
    shutil.rmtree(store / "files")
    assert planned(capsys, "--pull") == {"a": "run", "b": "may run", "c": "may run"}


def test_tracked_data_in_no_cache(toy: Toy) -> None:
    """Data that only the remote has is not promised, the run says how to get it, and a run with --pull gets it."""
    toy.write(FOLDERS)
    dvc("remote", "add", "-d", "store", str(toy.folder.with_name("store")))
    dvc("add", "in")
    run_as_planned()
    dvc("push")
    (toy.folder / "in").unlink()
    forget_cache(toy.folder)
    assert plan_here()["in.dvc"].verdict is Verdict.MISSING
    error = run_engine().error
    assert isinstance(error, DvcFailed)
    assert str(error) == LOST
    assert outcomes(succeeded(run_with_pull()))["in.dvc"] is Outcome.RESTORED
    assert toy.read("in") == "one\n"


def test_edited_data_has_its_own_words(toy: Toy) -> None:
    """Edited data is recorded, not restored: the plan and the run say so."""
    toy.write(CHAIN)
    dvc("add", "in")
    run_as_planned()
    (toy.folder / "in").unlink()
    toy.write({"in": "two\n"})
    assert plan_here()["in.dvc"].verdict is Verdict.RECORD
    assert succeeded(run_engine())["in.dvc"].sentence == "recorded as it lies there: in changed"


def test_stage_without_inputs_and_outputs(toy: Toy) -> None:
    """There is nothing to record of it: what is said is that it always runs, the first time and later."""
    toy.write({"dvc.yaml": "stages:\n  talk: {cmd: echo hello}\n"})
    for _ in range(2):
        assert plan_here()["talk"].reasons == ("always runs",)
        assert run_as_planned()["talk"].reasons == ("always runs",)
