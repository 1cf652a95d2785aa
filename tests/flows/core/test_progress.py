"""What a stage's last lines and its exit code say about its end."""

import signal

import pytest

from flows.core.errors import StageFailed, StageTimedOut
from flows.core.progress import parse_progress
from stages.base.errors import EXIT_FAILED


@pytest.mark.parametrize(
    ("code", "line", "message"),
    [
        (-9, "epoch 6/61  loss 0.2000  accuracy 0.9000", "killed by SIGKILL in epoch 7 of 61 (out of memory?)"),
        (137, "epoch 6/61  loss 0.2000", "killed by SIGKILL in epoch 7 of 61 (out of memory?)"),
        (-9, "Epoch 7/61", "killed by SIGKILL in epoch 7 of 61 (out of memory?)"),
        (-15, "step 40 of 200", "killed by SIGTERM in step 40 of 200"),
        (-11, "epoch 61/61  loss 0.1", "killed by SIGSEGV after epoch 61 of 61 (a crash of native code)"),
        (139, "loading", "killed by SIGSEGV in epoch 1 of 61 (a crash of native code)"),
        (-6, "error: a sentence before the end", "killed by SIGABRT in epoch 1 of 61"),
    ],
)
def test_a_signal_is_the_reason(code: int, line: str, message: str) -> None:
    """A killed stage names the signal and its progress; its last line is no reason."""
    failed = StageFailed("train@cnn", code, ["epoch 1/61", line])
    assert (str(failed), failed.exit_code) == (f"train@cnn: {message}", EXIT_FAILED)


@pytest.mark.parametrize(("code", "lines"), [(3, ["last"]), (137, ["error: last"]), (255, ["last"])])
def test_other_ends_have_their_message(code: int, lines: list[str]) -> None:
    """Without a signal the program's message is the reason, also where it chose an exit code above 128."""
    failed = StageFailed("a", code, lines)
    assert (str(failed), failed.exit_code) == (f"a failed (exit code {code}): last", code)


def test_time_limit_names_the_progress() -> None:
    """A stage that exceeds its time limit says how far it came."""
    message = str(StageTimedOut("a", 3.0, ["epoch 2/9  loss 0.5"]))
    assert message.startswith("a was stopped in epoch 3 of 9 after 3 s, its time limit")


def test_no_total_is_no_progress() -> None:
    """A line without a total, or with a total of 0, has no progress."""
    assert [parse_progress(line) for line in ("epoch 3", "step 0/0", "3 of 4")] == [None, None, None]
    assert str(StageFailed("a", -signal.SIGKILL, ["step 0/0"])) == "a: killed by SIGKILL (out of memory?)"
