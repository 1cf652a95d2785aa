"""Tracked data, and results in a DVC remote: the run does exactly what the plan says."""

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
from tests.flows.engine.graphs import CHAIN, FOLDERS
from tests.flows.engine.helpers import delete_cache, make_plan, outcomes, run_as_planned, status, succeeded
from tests.support.dvc_calls import add_remote, push, track

UNREAD = (
    "note: unread.dvc is left out: unread is neither in the workspace nor in the cache, and no stage reads it; "
    "fetch it with `dvc pull` or `inkflow run --pull`\n"
)
LOST = "in.dvc: in is not in the cache; fetch it with `dvc pull` or `inkflow run --pull`"


def run_with_pull() -> Run:
    """Returns a finished run that could restore from the remote."""
    run, repository = Run(options=Options(jobs=2)), Repository(pull=True)
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    engine.wait()
    return run


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Returns the verdict of each stage, from `inkflow plan --json`."""
    capsys.readouterr()
    assert main(["plan", "--json", *arguments]) == 0
    return {stage["stage"]: stage["verdict"] for stage in json.loads(capsys.readouterr().out)["stages"]}


def delete_results(toy: Toy) -> None:
    """Deletes the cache and the outputs, so that only the remote has results."""
    delete_cache(toy.folder)
    for name in ("tree", "inner", "whole", "part", "a", "b", "c"):
        path = toy.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.cases(1)
@pytest.mark.parametrize("files", [CHAIN, FOLDERS], ids=["chain", "folders"])
def test_plan_with_the_remote(toy: Toy, capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    """Results that only the remote has are planned to run; with --pull to be restored, as by `run --pull`."""
    toy.write(files)
    add_remote(toy.folder.with_name("store"))
    results = run_as_planned()
    push(run_cache=True)
    delete_results(toy)
    assert set(planned(capsys).values()) == {"run", "may run"}
    assert planned(capsys, "--pull") == dict.fromkeys(results, "restore")
    assert not any((toy.folder / ".dvc/cache/files").rglob("*"))
    assert set(outcomes(succeeded(run_with_pull())).values()) == {Outcome.RESTORED}
    assert status() == {}


def test_plan_with_an_incomplete_remote(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan does not rely on an entry of the run cache whose content the remote lacks."""
    toy.write(CHAIN)
    store = toy.folder.with_name("store")
    add_remote(store)
    run_as_planned()
    push(run_cache=True)
    delete_results(toy)
    shutil.rmtree(store / "files")
    assert planned(capsys, "--pull") == {"a": "run", "b": "may run", "c": "may run"}


def test_pull_of_a_stage_that_was_never_recorded(toy: Toy) -> None:
    """A stage without dependencies and without a record runs, although the cache has other objects."""
    toy.write({"dvc.yaml": "stages:\n  first: {cmd: echo 1 > a, outs: [a]}\n"})
    add_remote(toy.folder.with_name("store"))
    run_as_planned()
    toy.write({"dvc.yaml": "stages:\n  second: {cmd: echo 2 > b, outs: [b]}\n"})
    assert outcomes(succeeded(run_with_pull())) == {"second": Outcome.RAN}


@pytest.mark.farm
def test_tracked_data_in_no_cache(toy: Toy) -> None:
    """Tracked data that only the remote has is planned as missing; the run says how to get it, and --pull gets it."""
    toy.write(FOLDERS)
    add_remote(toy.folder.with_name("store"))
    track("in")
    run_as_planned()
    push()
    (toy.folder / "in").unlink()
    delete_cache(toy.folder)
    assert make_plan()["in.dvc"].verdict is Verdict.MISSING
    error = run_engine().error
    assert isinstance(error, DvcFailed)
    assert str(error) == LOST
    assert outcomes(succeeded(run_with_pull()))["in.dvc"] is Outcome.RESTORED
    assert toy.read("in") == "one\n"


def test_unread_data_in_no_cache(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Data that only the remote has and that no stage reads is left out with a note, unless it is named or pulled."""
    toy.write(CHAIN | {"unread": "more\n"})
    add_remote(toy.folder.with_name("store"))
    track("unread")
    assert run_as_planned()["unread.dvc"].outcome is Outcome.UNCHANGED
    push()
    (toy.folder / "unread").unlink()
    assert run_as_planned()["unread.dvc"].outcome is Outcome.RESTORED
    (toy.folder / "unread").unlink()
    delete_cache(toy.folder)
    capsys.readouterr()
    found = outcomes(run_as_planned())
    assert set(found) == {"a", "b", "c"} and set(found.values()) <= {Outcome.RAN, Outcome.UNCHANGED}
    assert capsys.readouterr().err == UNREAD
    assert str(run_engine("unread.dvc").error).startswith("unread.dvc: unread is not in the cache; fetch it with")
    assert outcomes(succeeded(run_with_pull()))["unread.dvc"] is Outcome.RESTORED
    (toy.folder / "unread").unlink()
    toy.write({"unread": "edited\n"})
    assert run_as_planned()["unread.dvc"].outcome is Outcome.RECORDED


def test_a_frozen_stage_that_has_never_run(toy: Toy) -> None:
    """No remote has its outputs: the plan and the run say what lets it run."""
    toy.write({"dvc.yaml": "stages:\n  talk: {cmd: echo 1 > out, outs: [out], frozen: true}\n"})
    hint = "it has never run and is frozen: `dvc unfreeze talk` lets it run"
    assert make_plan()["talk"].verdict is Verdict.MISSING
    assert make_plan()["talk"].reasons == ("not recorded yet", hint)
    assert str(run_engine().error) == f"talk: out is not in the cache; {hint}"


def test_a_frozen_stage_with_an_output_in_git(toy: Toy) -> None:
    """No cache and no remote has an output with `cache: false`: plan and run name git instead of a pull."""
    stage = "stages:\n  m: {cmd: 'echo 1 > out; echo {} > m.json', outs: [out], metrics: [m.json: {cache: false}]}\n"
    toy.write({"dvc.yaml": stage})
    run_as_planned()
    toy.write({"dvc.yaml": stage.replace("{cmd", "{frozen: true, cmd")})
    (toy.folder / "m.json").unlink()
    hint = "DVC does not keep it (`cache: false`): `git checkout -- m.json`, or `dvc unfreeze m` lets the stage run"
    decision = make_plan()["m"]
    assert (decision.verdict, decision.reasons[-1]) == (Verdict.MISSING, hint)
    assert str(run_engine().error) == f"m: m.json is missing; {hint}"


def test_edited_data(toy: Toy) -> None:
    """Edited tracked data is recorded, not restored, in the plan and in the run."""
    toy.write(CHAIN)
    track("in")
    run_as_planned()
    (toy.folder / "in").unlink()
    toy.write({"in": "two\n"})
    assert make_plan()["in.dvc"].verdict is Verdict.RECORD
    assert succeeded(run_engine())["in.dvc"].message == "recorded without running: in changed"


def test_stage_without_inputs_and_outputs(toy: Toy) -> None:
    """Such a stage has no record, and its reason is that it always runs, the first time and later."""
    toy.write({"dvc.yaml": "stages:\n  talk: {cmd: echo hello}\n"})
    for _ in range(2):
        assert make_plan()["talk"].reasons == ("always runs",)
        assert run_as_planned()["talk"].reasons == ("always runs",)
