"""The record of what was tried."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.support.report import machine
from tests.support.root import ROOT
from tests.torture.conftest import RECORD, promise
from tests.torture.document import merged, page, unstated, untried
from tests.torture.promises import BrokenPromise, Promise, current_test, kept


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
    assert _rows(record) == [("All numbers are even.", 3, 1)]


def test_any_error_breaks_one_attempt_and_not_the_campaign(tmp_path: Path) -> None:
    """A limit of time or a program that fails is noted with its type, and the next attempts go on."""
    record = tmp_path / "record.jsonl"
    with (
        pytest.raises(BrokenPromise, match=r"2 of 3 attempts:\nslow: TimeoutExpired: .*\nfailed: CalledProcessError: "),
        kept(Promise("S", "Programs end.", "h"), record) as tried,
    ):
        with tried.attempt("slow"):
            subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=True, timeout=0.1)
        with tried.attempt("failed"):
            subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)
        with tried.attempt("right"):
            pass
    assert _rows(record) == [("Programs end.", 3, 2)]


@pytest.mark.parametrize("error", [OSError("full"), AssertionError("outside"), pytest.fail.Exception("Timeout >1s")])
def test_an_error_outside_the_attempts_is_recorded(tmp_path: Path, error: BaseException) -> None:
    """A campaign that ends early has its record, in which the error counts as broken."""
    record = tmp_path / "record.jsonl"
    with pytest.raises(type(error)), kept(Promise("S", "It ends.", "h"), record) as tried:
        with tried.attempt("one"):
            pass
        raise error
    assert _rows(record) == [("It ends.", 2, 1)]


def test_a_broken_promise_leaves_the_one_around_it(tmp_path: Path) -> None:
    """Of nested promises each has its own numbers, whichever of them is broken."""
    record = tmp_path / "record.jsonl"
    with (
        pytest.raises(BrokenPromise, match="1 of 1 attempts:\ninner"),
        kept(Promise("S", "Outer.", "h"), record) as outer,
        kept(Promise("S", "Inner.", "h"), record) as inner,
    ):
        with outer.attempt("outer"):
            pass
        with inner.attempt("inner"):
            raise AssertionError("wrong")
    assert _rows(record) == [("Inner.", 1, 1), ("Outer.", 1, 0)]


def test_a_skipped_trial_has_no_record(tmp_path: Path) -> None:
    """What cannot be tried here keeps the numbers of another machine."""
    with pytest.raises(pytest.skip.Exception), kept(Promise("S", "Text.", "h"), tmp_path / "record.jsonl"):
        pytest.skip("no compiler")
    assert not (tmp_path / "record.jsonl").exists()


@pytest.mark.parametrize("end", [pytest.skip.Exception("no compiler"), KeyboardInterrupt()])
def test_the_end_of_a_trial_keeps_broken_attempts(tmp_path: Path, end: BaseException) -> None:
    """A skip or an interrupt after a broken attempt leaves it in the record; the skipped test fails."""
    record = tmp_path / "record.jsonl"
    expected = BrokenPromise if isinstance(end, pytest.skip.Exception) else KeyboardInterrupt
    with pytest.raises(expected), kept(Promise("S", "Text.", "h"), record) as tried:
        with tried.attempt("one"):
            raise AssertionError("wrong")
        raise end
    assert _rows(record) == [("Text.", 1, 1)]


def test_the_record_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixture that leaves the folder before the promise is made does not move the record."""
    name = f".inkflow/record-{os.getpid()}.jsonl"
    (ROOT / ".inkflow").mkdir(exist_ok=True)
    monkeypatch.setenv(RECORD, name)
    monkeypatch.chdir(tmp_path)
    try:
        with promise.__wrapped__()("S", "Kept.", "h") as tried, tried.attempt("one"):  # type: ignore[attr-defined]
            pass
        assert _rows(ROOT / name) == [("Kept.", 1, 0)]
        test = "tests/torture/test_promises.py::test_the_record_does_not_depend_on_the_folder"
        assert json.loads((ROOT / name).read_text())["test"] == current_test() == test
    finally:
        (ROOT / name).unlink(missing_ok=True)


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
    assert "| tried again | kills | 300 | 0 | 2026-11-28 | 2 |" in page(results)


def test_a_row_has_its_machine_and_its_date(tmp_path: Path) -> None:
    """What was tried elsewhere or earlier keeps that machine, which the page names once, and that day."""
    old = {"promises": [_row("kept", 1), _row("kept too", 2)]}
    record = tmp_path / "record.jsonl"
    days = [datetime.now(UTC).date()]
    with kept(Promise("Crashes", "tried now", "kills"), record) as tried:
        tried.count(7)
    days.append(datetime.now(UTC).date())
    text = page(merged(old, record))
    assert "| kept too | kills | 2 | 0 | 2026-11-28 | 1 |" in text and text.count("Another processor") == 1
    assert any(f"| tried now | kills | 7 | 0 | {day.isoformat()} | 2 |" in text for day in days)
    assert text.count("Machine 2: ") == 1


def test_a_whole_record_drops_the_promises_that_it_lacks(tmp_path: Path) -> None:
    """A sentence that no test has any more leaves the page after a whole run; an empty record is one, too."""
    old = {"promises": [_row("gone", 1), _row("stays", 1)]}
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps(_row("stays", 5)) + "\n")
    assert [row["promise"] for row in merged(old, record, is_whole=True)["promises"]] == ["stays"]
    record.write_text("")
    assert merged(old, record)["promises"] == old["promises"]
    assert page(merged(old, record, is_whole=True)).startswith("# Reliability")
    assert page(merged({}, tmp_path / "missing.jsonl")).startswith("# Reliability")


def test_a_whole_record_keeps_the_promises_of_skipped_tests(tmp_path: Path) -> None:
    """They keep their numbers and their machine; those of a test that ran and has another sentence leave the page."""
    old = {"promises": [_row("skipped", 7) | {"test": "a.py::test_a"}, _row("gone", 1) | {"test": "a.py::test_b"}]}
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps({"skipped": "a.py::test_a"}) + "\n" + json.dumps(_row("new", 5)) + "\n")
    results = merged(old, record, is_whole=True)
    assert [row["promise"] for row in results["promises"]] == ["new", "skipped"]
    assert results["promises"][1] == old["promises"][0]


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_failed_test_without_its_promise_breaks_the_row(tmp_path: Path, is_whole: bool) -> None:
    """Where a test or its process ended before it tried a promise, the earlier row has a broken attempt more."""
    rows = {"died": "a.py::test_a", "second": "a.py::test_b", "fine": "a.py::test_c"}
    old = {"promises": [_row(text, 7) | {"test": test} for text, test in rows.items()]}
    record = tmp_path / "record.jsonl"
    broken = _row("first", 5) | {"test": "a.py::test_b", "broken": 1}
    lines = [{"failed": "a.py::test_a"}, broken, {"failed": "a.py::test_b"}, old["promises"][2]]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {
        row["promise"]: (row["attempts"], row["broken"]) for row in merged(old, record, is_whole=is_whole)["promises"]
    }
    assert found == {"died": (8, 1), "first": (5, 1), "second": (8, 1), "fine": (7, 0)}


def test_a_whole_record_says_how_long_it_took(tmp_path: Path) -> None:
    """The page has the minutes from the begin to the last line, also after a later record of some promises."""
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps({"began_s": 1_000_000}) + "\n" + json.dumps(_row("one", 5)) + "\n")
    os.utime(record, (1_003_000, 1_003_000))
    results = merged({}, record, is_whole=True)
    sentence = "The last whole `make torture` took 50 minutes: 1970-01-12, machine 1."
    assert f"\n\n{sentence}\n\n## Crashes" in page(results)
    assert sentence in page(merged(results, record))
    assert "took" not in page(merged({}, record))


def test_a_test_without_a_row_is_named(tmp_path: Path) -> None:
    """Once a whole run has recorded them, each test that takes the fixture `promise` needs a row."""
    (tmp_path / "tests/torture").mkdir(parents=True)
    text = "def test_one(promise):\n    pass\n\n\ndef test_two(promise):\n    pass\n\n\ndef test_three():\n    pass\n"
    (tmp_path / "tests/torture/test_a.py").write_text(text)
    results = {"promises": [_row("one", 1) | {"test": "tests/torture/test_a.py::test_one"}]}
    assert untried(results, tmp_path) == []
    assert untried(results | {"whole": {"minutes": 1}}, tmp_path) == ["tests/torture/test_a.py::test_two"]


def test_a_new_record_drops_the_earlier_sentence_of_its_test(tmp_path: Path) -> None:
    """A changed sentence replaces the old one; a test with other parameters, or one that was skipped, keeps its row."""
    rows = {"old": "t.py::a", "gone": "t.py::a", "of b": "t.py::b[1]", "of c": "t.py::b[2]", "both": "t.py::c"}
    old = {"promises": [_row(text, 1) | {"test": test} for text, test in rows.items()]}
    record = tmp_path / "record.jsonl"
    lines = [
        *(_row(text, 2) | {"test": test} for text, test in (("new", "t.py::a"), ("b", "t.py::b[1]"), ("x", "t.py::c"))),
        {"skipped": "t.py::c"},
    ]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [row["promise"] for row in merged(old, record)["promises"]] == ["b", "both", "new", "of c", "x"]


@pytest.mark.parametrize(
    "code",
    [
        'promise("S", "All is well.", how)',
        'TEXT = (\n    "All "\n    "is well.")\npromise("S", TEXT, how)',
        'text = f"All is {state}."\npromise("S", text, how)',
        'promise("S", IMPORTED, how)',
    ],
)
def test_a_sentence_that_no_test_has_is_named(tmp_path: Path, code: str) -> None:
    """A row has a sentence of its file, once a whole run has counted its promises."""
    (tmp_path / "test_a.py").write_text(code)
    right, wrong, gone = (
        _row(text, 1) | {"test": test}
        for text, test in (("All is well.", "test_a.py::a"), ("Old.", "test_a.py::a[1]"), ("Old.", "test_b.py::b"))
    )
    results = {"promises": [right, wrong, gone], "whole": {"promises": 3}}
    expected = [] if "IMPORTED" in code else [("test_a.py::a[1]", "Old.")]
    assert unstated(results, tmp_path) == [*expected, ("test_b.py::b", "Old.")]
    assert unstated(results | {"whole": {"minutes": 1}}, tmp_path) == []


def _rows(record: Path) -> list[tuple[str, int, int]]:
    rows = map(json.loads, record.read_text().splitlines())
    return [(row["promise"], row["attempts"], row["broken"]) for row in rows]


def _row(promise: str, attempts: int) -> dict[str, object]:
    row = {"subject": "Crashes", "promise": promise, "how": "kills", "attempts": attempts, "broken": 0}
    return row | {"date": "2026-11-28", "machine": machine() | {"processor": "Another processor"}}


def test_a_verdict_is_no_attempt(tmp_path: Path) -> None:
    """What all attempts left behind is judged, and not counted as one more."""
    record = tmp_path / "record.jsonl"
    with pytest.raises(BrokenPromise, match="files: left"), kept(Promise("S", "Text.", "h"), record) as tried:
        with tried.attempt("one"):
            pass
        with tried.verdict("files"):
            raise AssertionError("left")
    assert _rows(record) == [("Text.", 1, 1)]
