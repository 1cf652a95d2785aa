"""Texts for terminals: no control characters, no credentials in URLs."""

import pytest
from markdown_it import MarkdownIt

from stages.base.errors import InvalidInput, exit_with
from stages.base.shown_text import csv_text, indented, markdown_text, remove_controls, shown_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 \t tab\nline", "plain é 日本 \t tab\nline"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://h\x1b\\b", "ab"),
        ("\x1b(B\x1b=a\x9b1mb\x1b", "ab"),
        ("a\u202egnp.exe\u2066b\u200bc", "agnp.exebc"),
        ("a\ufffeb\uffffc", "abc"),
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


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("see http://evil.com/a", "see http:&#47;/evil.com/a"),
        ("ftp://evil.com", "ftp:&#47;/evil.com"),
        ("_www.evil.com", "\\_www&#46;evil.com"),
        ("WWW.evil.com", "WWW&#46;evil.com"),
        ("bob@evil.com", "bob&#64;&#8288;evil.com"),
        ("thanks @team", "thanks &#64;&#8288;team"),
        ("cnn@prod", "cnn@prod"),
        ("train@0.5", "train@0.5"),
        ("cnn@v1.0.0", "cnn@v1.0.0"),
    ],
)
def test_markdown_makes_no_link_of_a_text(text: str, markdown: str) -> None:
    """Bare addresses, mail addresses and mentions become no links, and are shown as they were."""
    assert markdown_text(text) == markdown
    parser = MarkdownIt("commonmark", {"linkify": True}).enable("linkify")
    assert parser.render(markdown).replace("\u2060", "") == f"<p>{text}</p>\n"


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "+cmd|x", "-1+cmd|x", "--option"])
def test_a_formula_is_a_text_in_csv(text: str) -> None:
    """A cell that a spreadsheet would run as a formula gets an apostrophe."""
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-", "+", "=", "@", "a", "a=1", "-1", "+1.5", "-.5e-3", "1e9", "'=1", "\u00e9"])
def test_other_texts_stay_in_csv(text: str) -> None:
    """Numbers with a sign and other texts are unchanged."""
    assert csv_text(text) == text


def test_further_lines_are_indented() -> None:
    """A text with line ends makes no line that begins as one of its own."""
    assert indented("one\n+ forged   ran") == "one\n  + forged   ran"
