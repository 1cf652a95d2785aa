"""The helpers of the tests with damaged files: what they take for noticed, and which kinds of files they know."""

import subprocess
from itertools import product
from pathlib import Path

import pytest

from flows.prefect_server.credentials import HOME
from flows.prefect_server.up import NOTIFIED
from tests.torture import test_damage_pipeline, test_damage_state
from tests.torture.support.damage import DAMAGES, plan_problem, problem
from tests.torture.support.forked import Outcome, wait
from tests.torture.support.kinds import ELSEWHERE, paths_in_code, untried
from tests.torture.support.records_made import PATTERNS
from tests.torture.test_damage_checkpoints import ATTEMPTS, CHECKPOINT, FINISHED
from tests.torture.test_damage_records import _changed

NAMES = ("model.onnx", "models/dense/model.onnx")
RIGHT = Outcome(0, "7\n", "models/dense/model.onnx is read\n")
NOTHING = "Nothing to do: all 3 stages are unchanged.\n"
ROWS = "stage     verdict    expected  why\ntrain@cnn unchanged\n{row}\n"
TABLES = [kind.pattern for table in (test_damage_pipeline.STATE, test_damage_state.KINDS) for kind in table.values()]


@pytest.mark.parametrize(
    ("outcome", "undamaged", "found"),
    [
        (Outcome(0, "7\n", ""), RIGHT, None),
        (Outcome(0, "8\n", ""), RIGHT, "another result"),
        (Outcome(0, "8\n", "models/dense/model.onnx is read\n"), RIGHT, "another result"),
        (Outcome(0, "8\n", "models/dense is odd\n"), RIGHT, "another result"),
        (Outcome(0, "8\n", "warning: model.onnx is damaged\n"), RIGHT, None),
        (Outcome(2, "", "error: model.onnx is damaged\n"), RIGHT, None),
        (Outcome(2, "", "error: the data is damaged\n"), RIGHT, "the file is not named"),
        (Outcome(2, "", "error: models is damaged\n"), RIGHT, "the file is not named"),
        (Outcome(2, "", "model.onnx\n"), RIGHT, "exit code 2 without a sentence"),
        (Outcome(2, "", "error: x: model.onnx\n"), Outcome(2, "", "error: x: model.onnx\n"), None),
        (Outcome(1, "", "error: x: model.onnx\n"), Outcome(2, "", "error: x: model.onnx\n"), "exit code 1 without"),
        (Outcome(0, "", ""), Outcome(2, "", "error: x\n"), "a failure became a success"),
        (Outcome(3, "model.onnx: damaged\n", ""), RIGHT, None),
        (Outcome(3, "model.onnx: damaged\n", ""), Outcome(3, "model.onnx: damaged\nb\n", ""), "another result"),
        (
            Outcome(0, "7\n", ""),
            Outcome(0, "7\n", "note: the data have changed\n"),
            "it no longer says: note: the data",
        ),
        (Outcome(None, "", ""), RIGHT, "it hangs"),
        (Outcome(0, "7\n", "Traceback\n"), RIGHT, "a traceback"),
    ],
)
def test_what_is_taken_for_noticed(outcome: Outcome, undamaged: Outcome, found: str | None) -> None:
    """The file has to be named by its name, in a line that the command does not write without the damage."""
    said = problem(outcome, undamaged, NAMES)
    assert said is None if found is None else said is not None and said.startswith(found)


def test_a_command_that_shows_changes_may_differ() -> None:
    """Another output is right where it shows the change; an error has to name the file there, too."""
    assert problem(Outcome(0, "8\n", ""), RIGHT, NAMES, may_differ=True) is None
    assert problem(Outcome(2, "", "error: x\n"), RIGHT, NAMES, may_differ=True) is not None


def test_a_name_that_a_table_cuts_is_known() -> None:
    """So much of a long name is enough that it is no other file's; a short beginning is not."""
    names = (f".inkflow/watch/{'e5bd3ca1' * 8}.json",)
    for length, is_right in ((60, True), (12, False)):
        said = problem(Outcome(3, f"! {names[0][:length]}… -> move the file away\n", ""), RIGHT, names)
        assert (said is None) == is_right, said


@pytest.mark.parametrize(
    ("outcome", "is_told"),
    [
        (Outcome(0, NOTHING, ""), False),
        (Outcome(0, ROWS.format(row="train@dense unchanged"), ""), False),
        (Outcome(0, ROWS.format(row="train@dense_dropout restore  outputs changed"), ""), False),
        (Outcome(0, ROWS.format(row="train@dense restore  outputs changed"), ""), True),
        (Outcome(0, ROWS.format(row="train@dense may run"), ""), True),
        (Outcome(0, NOTHING, "warning: models/dense/model.onnx cannot be read\n"), True),
    ],
)
def test_a_plan_has_to_tell_a_damaged_output(outcome: Outcome, is_told: bool) -> None:
    """In a row of its stage with another verdict, or in a line with its name: other rows say nothing of it."""
    said = plan_problem(outcome, Outcome(0, NOTHING, ""), NAMES, "train@dense")
    assert said is None if is_told else said is not None and said.startswith("the plan tells nothing of train@dense")


def test_what_a_command_may_have_made() -> None:
    """With damage a command makes what it makes without, or fails before it has made anything."""
    done, failed = Outcome(0, "", ""), Outcome(2, "", "error: x\n")
    assert _changed(done, "made", "before", "made") is None
    assert _changed(failed, "before", "before", "made") is None
    for outcome, now in ((done, "before"), (done, "other"), (failed, "other")):
        assert _changed(outcome, now, "before", "made") is not None


def test_each_path_of_the_state_is_tried_or_has_a_reason() -> None:
    """A kind of file that the code keeps below .inkflow is in a table of these tests, or in a list with the reason."""
    assert untried([*TABLES, *PATTERNS]) == []
    assert {".inkflow/rollbacks/*.json", ".inkflow/own_data.json", f"{HOME}/{NOTIFIED}"} <= paths_in_code()


def test_a_path_that_the_tables_lack_is_found(tmp_path: Path) -> None:
    """Written as one text, from parts of this module or another one, or with parts that the code computes."""
    code = """from pathlib import Path

from flows.core.project import STATE

KEPT, OTHER = STATE / "kept.json", "x"
TEXT = Path(".inkflow/text") / "more"


def write(root, name, folder):
    (root / TEXT / f"{name}.json").touch()
    (folder / ".inkflow" / "serve2" / name).touch()
    (root / KEPT).touch()
    print("in .inkflow/a of the project")
"""
    (tmp_path / "flows/core").mkdir(parents=True)
    (tmp_path / "flows/core/project.py").write_text('from pathlib import Path\n\nSTATE = Path(".inkflow")\n')
    (tmp_path / "flows/new.py").write_text(code)
    found = {".inkflow/kept.json", ".inkflow/text", ".inkflow/text/more", ".inkflow/text/more/*.json"}
    assert paths_in_code(tmp_path) == found | {".inkflow/serve2"}
    known = [".inkflow/text/*/*.json", ".inkflow/kept.json"]
    assert untried(known, tmp_path) == [".inkflow/serve2"]


def test_no_exception_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path that has a reason to be in no table is in the code, and in no table."""
    for path in [*ELSEWHERE]:
        with monkeypatch.context() as without:
            without.delitem(ELSEWHERE, path)
            assert untried([*TABLES, *PATTERNS]) != [], path


def test_each_damage_of_a_checkpoint_and_of_a_finished_seed_is_tried() -> None:
    """A thorough trial damages both kinds of files in each way."""
    assert {*product((CHECKPOINT, FINISHED), DAMAGES)} == {*ATTEMPTS} and len(ATTEMPTS) == 15


def test_a_command_that_hangs_is_killed_with_its_group() -> None:
    """A process that does not end in time has no exit code, and does not stay; nor do its children."""
    command = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert wait(process.pid, 0.1) is None
        assert process.stdout.read() == ""  # the child has closed it
    assert child != process.pid
