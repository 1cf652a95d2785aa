"""`Repository` agrees with DVC: what is unchanged, what is restored, what runs, and what dvc.lock records."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo

from flows.core.errors import DvcFailed, InputsChanged, PipelineInvalid, StageFailed, UnknownStage
from flows.dvc_repo.dvc_errors import converted_errors
from flows.dvc_repo.repository import Repository
from flows.engine.planning.stage_facts import nothing_to_do
from flows.engine.types import Outcome, Result
from tests.conftest import DIAMOND, Toy, run_engine
from tests.flows.engine.helpers import dvc_repro, status
from tests.support.copied_toy import copied_toy


def make_finished(folder: Path) -> None:
    """Makes the project of the fixture `diamond`, and runs it."""
    Toy(folder).write({"dvc.yaml": DIAMOND, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n"})
    repro()


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_finished, tmp_path / "toy", monkeypatch)


def repro(*names: str, force: bool = False) -> dict[str, Result]:
    """Run the engine on a newly opened repository, and return the results by stage; raise the first error."""
    run = run_engine(*names, force=force)
    if run.error:
        raise run.error
    return {result.stage: result for result in run.results}


def outcomes(results: dict[str, Result]) -> set[Outcome]:
    """Return the distinct outcomes in `results`."""
    return {result.outcome for result in results.values()}


def test_order_and_upstream(diamond: Toy) -> None:
    """Stages come after those that they depend on, and have DVC's addresses as names."""
    stages = {stage.name: stage for stage in Repository().stages()}
    assert next(iter(stages)) == "source"
    assert list(stages)[-1] == "join"
    assert set(stages["join"].upstream) == {"side@left", "side@right"}


def test_targets(diamond: Toy) -> None:
    """A target is a stage, a group or an output; it selects the stages that it depends on, and no others."""
    repository = Repository()
    assert [stage.name for stage in repository.stages(["side@left"])] == ["source", "side@left"]
    assert {stage.name for stage in repository.stages(["side"])} == {"source", "side@left", "side@right"}
    assert [stage.name for stage in repository.stages(["right"])] == ["source", "side@right"]


def test_unknown_target(diamond: Toy) -> None:
    """The error for an unknown target suggests the most similar name."""
    with pytest.raises(UnknownStage, match="unknown stage 'side@lift'; did you mean 'side@left'"):
        Repository().stages(["side@lift"])


def test_first_run_then_nothing(diamond: Toy) -> None:
    """All stages run once; then `dvc status` reports no change, and no stage runs."""
    assert outcomes(repro()) == {Outcome.RAN}
    assert status() == {}
    assert nothing_to_do(Repository().facts())
    assert outcomes(repro()) == {Outcome.UNCHANGED}
    assert [diamond.runs(name) for name in ("source", "left", "right", "join")] == [1, 1, 1, 1]


def test_dvc_repro_agrees(finished: Toy) -> None:
    """`dvc repro` does not run stages that the engine ran, and the engine does not run stages that it ran."""
    dvc_repro(finished.folder)
    assert finished.runs("source") == 1
    finished.write({"in": "two\n"})
    dvc_repro(finished.folder)
    assert outcomes(repro()) == {Outcome.UNCHANGED}
    assert finished.runs("join") == 2


def test_same_lock_as_dvc(finished: Toy) -> None:
    """dvc.lock has the same bytes as the one that `dvc repro` writes."""
    expected = finished.read("dvc.lock")
    (finished.folder / "dvc.lock").unlink()
    with Repo() as repo:
        repo.reproduce(all_pipelines=True, force=True)
    assert finished.read("dvc.lock") == expected


def test_parameter_changed_and_reverted(finished: Toy) -> None:
    """A changed parameter runs its stage, with old and new value as the reason; reverted, the stage is restored."""
    finished.write({"params.yaml": "knobs: {speed: 2}\n"})
    results = repro()
    assert results["source"] == Result("source", Outcome.RAN, ("knobs.speed 1 → 2",))
    assert results["side@left"].outcome is Outcome.UNCHANGED
    finished.write({"params.yaml": "knobs: {speed: 1}\n"})
    assert repro()["source"].outcome is Outcome.RESTORED
    assert finished.runs("source") == 2


def test_content_changed_and_reverted(finished: Toy) -> None:
    """New content runs all stages that depend on it; the old content restores them."""
    finished.write({"in": "two\n"})
    assert outcomes(repro()) == {Outcome.RAN}
    assert finished.read("joined") == "two\ntwo\n"
    finished.write({"in": "one\n"})
    assert outcomes(repro()) == {Outcome.RESTORED}
    assert finished.read("joined") == "one\none\n"
    assert finished.runs("join") == 2


def test_deleted_output_is_restored(finished: Toy) -> None:
    """A deleted output is restored without a run; other stages are unchanged."""
    (finished.folder / "left").unlink()
    results = repro()
    assert results["side@left"] == Result("side@left", Outcome.RESTORED, ("left missing",))
    assert [name for name, result in results.items() if result.outcome is not Outcome.UNCHANGED] == ["side@left"]
    assert finished.runs("left") == 1


def test_never_restored_for_new_inputs(finished: Toy) -> None:
    """The recorded outputs are not restored for new inputs, although the cache has them."""
    (finished.folder / "out").unlink()
    finished.write({"in": "new\n"})
    assert repro()["source"].outcome is Outcome.RAN
    assert finished.read("out") == "new\n"


def test_force(finished: Toy) -> None:
    """--force runs unchanged stages."""
    assert outcomes(repro(force=True)) == {Outcome.RAN}
    assert status() == {}


def test_failure_records_nothing(finished: Toy) -> None:
    """A failed stage raises an error with its message and exit code, and dvc.lock does not change."""
    before = finished.read("dvc.lock")
    finished.write({"fail": "echo error: no paper >&2; exit 7", "dvc.yaml": DIAMOND.replace("cp in out", "sh fail")})
    with pytest.raises(StageFailed, match=r"source failed \(exit code 7\): no paper") as caught:
        repro()
    assert caught.value.exit_code == 7
    assert finished.read("dvc.lock") == before


def test_missing_dependency(diamond: Toy) -> None:
    """The error for a missing input names the file."""
    (diamond.folder / "in").unlink()
    with pytest.raises(DvcFailed, match="in"):
        repro()


def test_missing_output(diamond: Toy) -> None:
    """A command that does not write an output fails, and the error names the output."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "true")})
    with pytest.raises(DvcFailed, match="output 'out' does not exist"):
        repro()


def test_input_edited_while_running(diamond: Toy) -> None:
    """If an input is edited while its stage runs, nothing is recorded, and the next run runs the stage."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "cp in out; echo edited > in")})
    with pytest.raises(InputsChanged, match="source: in changed while it ran"):
        repro("source")
    diamond.write({"dvc.yaml": DIAMOND})
    assert repro("source")["source"].outcome is Outcome.RAN
    assert diamond.read("out") == "edited\n"


def test_broken_graph(toy: Toy) -> None:
    """An invalid dvc.yaml raises an error of Inkflow."""
    toy.write({"dvc.yaml": "stages:\n  a:\n    cmd: true\n    dep: [x]\n"})
    with pytest.raises(PipelineInvalid, match="DVC cannot read the pipeline"):
        Repository()


@pytest.mark.parametrize(
    ("stages", "kind"),
    [
        ('"a": {cmd: "echo \\0"}', "command"),
        ('"a": {cmd: ["true", "echo \\uDCFF"]}', "command"),
        ('"a": {foreach: {"b\\uDCFF": 1}, do: {cmd: "true"}}', "name"),
        ('"a": {foreach: {"b\\0": 1}, do: {cmd: "true"}}', "name"),
    ],
)
def test_characters_that_no_process_can_have(toy: Toy, stages: str, kind: str) -> None:
    """YAML can name NUL and half a character; a stage with one is refused before it starts."""
    toy.write({"dvc.yaml": f"stages:\n  {stages}\n"})
    with pytest.raises(PipelineInvalid, match=rf"dvc\.yaml: the {kind} .* has NUL or half a character"):
        Repository()


def test_truncated_rwlock(diamond: Toy) -> None:
    """A process that is killed while it writes DVC's `rwlock` leaves it empty, which breaks DVC; a run repairs it."""
    repro("source")
    diamond.write({".dvc/tmp/rwlock": ""})
    assert repro()["join"].outcome is Outcome.RAN
    assert status() == {}


def test_dead_processes_in_rwlock(diamond: Toy) -> None:
    """Entries that killed processes left in DVC's `rwlock` are removed; those of living processes stay.

    DVC keeps the entries of dead readers, and the file is in use as soon as another process gets the id.
    """
    repro("source")
    living = {"pid": os.getpid(), "cmd": "living"}
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays in the table of processes
        dead = [{"pid": pid, "cmd": "dead"} for pid in (2**22 - 1, ended.pid)]
        content = {"write": {"/w": dead[0], "/x": living}, "read": {"/r": dead, "/s": [dead[0], living]}}
        diamond.write({".dvc/tmp/rwlock": json.dumps(content)})
        Repository().close()
    assert json.loads(diamond.read(".dvc/tmp/rwlock")) == {"write": {"/x": living}, "read": {"/s": [living]}}


def test_processes_with_the_id_of_a_killed_one(diamond: Toy) -> None:
    """Entries of a killed run do not count if this process, or one that began later, has its id, as in a container.

    One with the recorded command counts: the clock may have been set forward since.
    """
    folder, path = diamond.folder, diamond.folder / ".dvc/tmp/rwlock"
    with subprocess.Popen(["sleep", "600"]) as later:
        own, other, living = ({"pid": pid, "cmd": "inkflow run --jobs 4"} for pid in (os.getpid(), later.pid, 1))
        same = {"pid": later.pid, "cmd": "sleep 600 (a)"}
        content = {
            "write": {str(folder / "left"): own, "/x": living},
            "read": {str(folder / "out"): [own, other], "/s": [living, same]},
        }
        diamond.write({".dvc/tmp/rwlock": json.dumps(content)})
        os.utime(path, times=(psutil.Process(1).create_time(),) * 2)
        try:
            assert outcomes(repro()) == {Outcome.RAN}
        finally:
            later.kill()
    assert json.loads(path.read_text()) == {"write": {"/x": living}, "read": {"/s": [living, same]}}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"read": []}',
        '{"write": {"/x": {"pid": "x", "cmd": "y"}}}',
        '{"write": {"/x": {"pid": 1e999, "cmd": "y"}}}',
        '{"read": {"/x": 1}}',
    ],
)
def test_rwlock_of_another_form(diamond: Toy, content: str) -> None:
    """A list of files in use that no DVC writes is left as it is."""
    diamond.write({".dvc/tmp/rwlock": content})
    Repository().close()
    assert diamond.read(".dvc/tmp/rwlock") == content


def test_unusable_database(tmp_path: Path) -> None:
    """Where DVC's databases cannot be written, one sentence names them."""
    file = tmp_path / "x.db"
    sqlite3.connect(file).execute("CREATE TABLE t (x)").connection.close()
    with (
        pytest.raises(DvcFailed, match="databases cannot be used: attempt to write a readonly database; free disk"),
        converted_errors(tmp_path),
        closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database,
    ):
        database.execute("INSERT INTO t VALUES (1)")
