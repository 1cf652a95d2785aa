"""The Chinese pages keep step with the English ones: the same headings, commands, tables, pictures and links."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.shell_blocks import FENCE, blocks
from tests.support.root import ROOT

TRANSLATIONS = sorted([*ROOT.glob("*.zh-CN.md"), *(ROOT / "docs").glob("*.zh-CN.md")])
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# The full-width full stop, comma, semicolon, colon, exclamation and question mark, enumeration comma, bracket, quote.
PUNCTUATION = tuple("\u3002\uff0c\uff1b\uff1a\uff01\uff1f\u3001\uff09\u201d")
START = ("- ", "|", "#", "![")  # of a line that continues no sentence


def original(page: Path) -> Path:
    """Returns the English page of a translation."""
    return page.with_name(page.name.replace(".zh-CN", ""))


def prose(page: Path) -> str:
    """Returns the text of a page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> set[str]:
    """Returns the targets of the links and pictures of a page, those between the two languages left out."""
    targets = {target.replace(".zh-CN", "") for target in re.findall(r"\]\(([^)]+)\)", prose(page))}
    return targets - {"README.md"}


def test_there_is_a_tutorial_and_a_read_me() -> None:
    """Readers find the front page and the tutorial in Chinese, from the English front page too."""
    assert {page.name for page in TRANSLATIONS} == {"README.zh-CN.md", "tutorial.zh-CN.md"}
    assert "(README.zh-CN.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_a_translation_keeps_step(page: Path) -> None:
    """Headings by number and level, code blocks by letter, rows of tables, lists and links are those of the page."""
    for pattern in (r"^#+ ", r"^\|", r"^- "):
        marks = [re.findall(pattern, prose(name), re.MULTILINE) for name in (page, original(page))]
        assert marks[0] == marks[1], pattern
    assert blocks(page) == blocks(original(page))
    assert links(page) == links(original(page))


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_a_translation_is_one(page: Path) -> None:
    """Headings are in Chinese, except names; so is each paragraph. Figures are those of the English page."""
    text = prose(page)
    headings = [line for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE) if line != "Inkflow"]
    assert [line for line in headings if not CHINESE.search(line)] == []
    rows = [line for line in text.split("\n\n") if not line.startswith(("#", "|"))]
    assert [line for line in rows if line.strip() and not CHINESE.search(line)] == []
    figures = [re.findall(r"\d+\.\d{3,}", prose(name)) for name in (page, original(page))]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_lines_break_after_punctuation(page: Path) -> None:
    """Lines of a paragraph end in punctuation: a browser draws a line break between two characters as a space."""
    lines = pairwise(prose(page).splitlines())
    broken = [
        line
        for line, after in lines
        if after and not after.startswith(START) and line and not line.endswith(PUNCTUATION)
    ]
    assert broken == []
