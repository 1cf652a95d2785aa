"""Texts for terminals: no control characters, no credentials in URLs."""

import pytest

from stages.base.errors import InvalidInput, exit_with
from stages.base.shown_text import remove_controls, shown_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 \t tab\nline", "plain é 日本 \t tab\nline"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://h\x1b\\b", "ab"),
        ("\x1b(B\x1b=a\x9b1mb\x1b", "ab"),
        ("a\u202egnp.exe\u2066b\u200bc", "agnp.exebc"),
        ("b\x08bo\x08o\x07\x00", "bo"),
    ],
)
def test_controls_are_removed(text: str, shown: str) -> None:
    """Control sequences, bidirectional controls and invisible characters are removed; letters, tabs and lines stay."""
    assert remove_controls(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:80/a@b?token=x#y", "https://h:80/a@b"),
        ("https://me:pw@h/x", "https://h/x"),
        ("https://token@h/x", "https://h/x"),
        ("https://me:pw@h:no-port/x", "https://h:no-port/x"),
        ("https://me:p/w@h/x", "https://h/x"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    """A URL, valid or not, is shown without user, password, query and fragment."""
    assert shown_url(url) == shown


def test_errors_of_programs_are_safe_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    """The error message of a program has no control characters and no password of a URL."""

    def fail() -> int:
        raise InvalidInput("\x1b[31mno\u202e model at https://me:hunter22@h/x")

    assert exit_with(fail) == InvalidInput.exit_code
    assert capsys.readouterr().err == "error: no model at https://me:***@h/x\n"
