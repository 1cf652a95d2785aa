"""The record of what was tried."""

import json
from pathlib import Path

import pytest

from tests.torture.document import merged, page
from tests.torture.promises import Promise, kept


def test_a_broken_promise_is_recorded_and_fails_after_all_attempts(tmp_path: Path) -> None:
    """An attempt that fails does not end the others; the record counts all and the error names the one."""
    record = tmp_path / "record.jsonl"
    with (
        pytest.raises(AssertionError, match="1 of 3 attempts:\nround 1: 1 is even"),
        kept(Promise("Counting", "All numbers are even.", "numbers"), record) as tried,
    ):
        for number in (0, 1, 2):
            with tried.attempt(f"round {number}"):
                assert number % 2 == 0, f"{number} is even"
    assert json.loads(record.read_text()) == {
        "subject": "Counting",
        "promise": "All numbers are even.",
        "how": "numbers",
        "attempts": 3,
        "broken": 1,
    }


def test_a_promise_that_nothing_tried_fails() -> None:
    """A loop that never ran is no proof."""
    with pytest.raises(AssertionError, match="nothing tried"), kept(Promise("S", "Nothing is lost.", "h"), None):
        pass


def test_a_new_record_replaces_the_same_promise_alone(tmp_path: Path) -> None:
    """What was tried again stands once, with its new numbers; other promises stay."""
    old = {"promises": [_row("kept", 1), _row("tried again", 1)]}
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps(_row("tried again", 300)) + "\n")
    results = merged(old, record)
    assert [(row["promise"], row["attempts"]) for row in results["promises"]] == [("kept", 1), ("tried again", 300)]
    assert "| tried again | kills | 300 | 0 |" in page(results)


def _row(promise: str, attempts: int) -> dict[str, object]:
    return {"subject": "Crashes", "promise": promise, "how": "kills", "attempts": attempts, "broken": 0}
