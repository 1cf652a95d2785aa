"""The helpers of the tests of damaged files: what they take for noticed, and that they come to an end."""

import subprocess

import pytest

from tests.torture.support.damage import problem
from tests.torture.support.forked import Outcome, wait

NAMES = ("model.onnx", "models/dense/model.onnx")
RIGHT = Outcome(0, "7\n", "models/dense/model.onnx is read\n")


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


def test_a_command_that_hangs_is_killed_with_its_group() -> None:
    """A process that does not end in time has no exit code, and does not stay; nor do its children."""
    command = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert wait(process.pid, 0.1) is None
        assert process.stdout.read() == ""  # the child has closed it
    assert child != process.pid
