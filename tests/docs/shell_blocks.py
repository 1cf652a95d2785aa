"""Code blocks of the pages: README, CONTRIBUTING and docs/, in all languages."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.root import ROOT

FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = ("sh", "bash")


def pages() -> list[Path]:
    """Returns all pages that show commands."""
    return [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Returns the language and the text of each code block of a page."""
    return [(match[1], match[3]) for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


def shell_blocks(page: Path) -> list[str]:
    """Returns the blocks of commands of a page."""
    return [text for language, text in blocks(page) if language in SHELL]


def typed_commands(page: Path) -> Iterator[str]:
    """Yields the commands of a page, without the content of here-documents: of shell blocks, and behind `$ `."""
    for language, text in blocks(page):
        if language == "console":
            yield from (line[2:] for line in text.splitlines() if line.startswith("$ "))
        if language in SHELL:
            plain = re.sub(r"<<'(\w+)'\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
            yield plain
