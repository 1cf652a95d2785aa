"""The expected duration of a stage: the median of its last runs on this machine, and nothing that stops a run."""

import json
from pathlib import Path

import pytest

from flows.core.notices import note_once
from flows.engine.timings import PATH, Timings


def timed(folder: Path, *seconds: float) -> Timings:
    """Adds runs of the stage `a` to the file in `folder`."""
    timings = Timings(folder)
    for value in seconds:
        timings.add("a", value)
    timings.save()
    return timings


def test_the_median_of_the_last_five_runs(tmp_path: Path) -> None:
    """A stage is expected to take the median of its last five runs, and an unknown one nobody knows how long."""
    (tmp_path / PATH.parent).mkdir()
    timed(tmp_path, 100, 100, 100)
    assert timed(tmp_path, 1, 2, 3, 4.0004).expected_s("a") == 3
    assert json.loads((tmp_path / PATH).read_text())["a"] == [100, 1, 2, 3, 4]
    assert Timings(tmp_path).expected_s("a") == 3
    assert Timings(tmp_path).expected_s("b") is None
    assert timed(tmp_path, 5).expected_s("a") == 3


def test_two_runs_at_a_time_keep_both(tmp_path: Path) -> None:
    """A run adds to what another one has written since it began."""
    (tmp_path / PATH.parent).mkdir()
    first, second = Timings(tmp_path), Timings(tmp_path)
    first.add("a", 1)
    second.add("a", 3)
    first.save()
    second.save()
    assert Timings(tmp_path).expected_s("a") == 2


@pytest.mark.parametrize("text", ['{"a": [NaN]}', '{"a": [1, Infinity]}', '{"a": 1}', "{", "[]", '{"a": ["x"]}'])
def test_a_damaged_file_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A file with anything else than durations is not used, a note says so, and the next run replaces it."""
    note_once.cache_clear()
    (tmp_path / PATH.parent).mkdir()
    (tmp_path / PATH).write_text(text)
    assert Timings(tmp_path).expected_s("a") is None
    timed(tmp_path, 2)
    assert Timings(tmp_path).expected_s("a") == 2
    assert capsys.readouterr().err.count(": no durations are expected") == 1


def test_durations_that_cannot_be_kept_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the file cannot be written the run goes on, with a note."""
    (tmp_path / PATH.parent).write_text("no folder")
    timed(tmp_path, 1)
    assert "the durations of this run are not kept" in capsys.readouterr().err
