"""The lines that a trial prints: events of the trial, or the output of libraries."""

import pytest

from flows.experiments.trial_process import parse_event

LIBRARY_LINES = ("5", "null", "[1, 2]", '["done", 3]', '["line", 5]', "a {", "[" * 5000)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('["line", "a | text"]\n', ("line", "a | text")),
        ('["ended", "a was interrupted"]\n', ("ended", "a was interrupted")),
        ('["machine", "no memory"]\n', ("machine", "no memory")),
        *((f"{text}\n", ("result", text)) for text in LIBRARY_LINES),
    ],
)
def test_lines_of_libraries(line: str, event: tuple[str, str]) -> None:
    """A line that a library prints in a trial is no event, whatever JSON it is."""
    assert parse_event(line) == event
