"""Notes on standard error: work goes on without those that cannot be written."""

from collections.abc import Callable

import pytest

from flows.core.redaction import say
from tests.support.unwritable import UNWRITABLE, unwritable_stderr


@UNWRITABLE
def test_a_note_that_cannot_be_written_is_lost(make: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk or a closed pipe behind standard error ends no thread that says a note; the next line is said."""
    with unwritable_stderr(make):
        say("serve: the version so far stays", error=True)
    say("next", error=True)
    assert capsys.readouterr() == ("", "next\n")
