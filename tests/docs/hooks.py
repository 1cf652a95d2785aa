"""Hooks of MkDocs (mkdocs.yml): pages made from the code and from files outside of docs/, links to them, pictures."""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext

from tests.architecture.modules import layers
from tests.docs.commands import reference
from tests.docs.pictures import draw_flowchart, draw_sequence, draw_walls, parse_flowchart
from tests.support.root import ROOT

PAGES = {  # files outside of docs/, by the name of their page
    "README.md": "index.md",
    "README.zh-CN.md": "index.zh-CN.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "license.md",
}
PYTHON = """# Python

The names of `inkflow.engine`, which are stable; [Use from Python](../python.md) shows them in use.

"""
VALUES = ("Kind", "Verdict", "Outcome")  # whose members are the documentation
NAMES = ("Project", "RunResult", "Event", "Kind", "Decision", "Verdict", "Result", "Outcome", "InkflowError")
SOURCE = re.compile(r"\[(\d)\] (?=\[)")  # of a list of sources: two pairs of brackets are a link by reference
LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WALLS = re.compile(r"^```text\n(flows|stages): imports go down\n.*?^```$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from files outside of docs/, from the parsers and from docstrings."""
    texts = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in PAGES.items() if (ROOT / name).is_file()}
    texts["license.md"] = f"# License\n\n```text\n{texts['license.md']}\n```\n"
    texts |= {"reference/commands.md": reference(), "reference/python.md": PYTHON + "".join(map(_directive, NAMES))}
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        texts[_source_page(f"examples/{path.name}")] = f"# examples/{path.name}\n\n```python\n{source}```\n"
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Draws the pictures of a page, and lets its links lead to the pages of the site."""
    folder = Path(page.file.src_uri).parent
    from_root = next((Path(name).parent for name, made in PAGES.items() if made == page.file.src_uri), Path("docs"))
    if page.file.src_uri.startswith("reference/"):
        return markdown

    def link(match: re.Match[str]) -> str:
        target = os.path.normpath(from_root / match[2])
        site = PAGES.get(target) or (
            target.removeprefix("docs/") if target.startswith("docs/") else _source_page(target)
        )
        return f"{match[1]}{os.path.relpath(site, folder)}{match[3]}"

    markdown = MERMAID.sub(lambda match: _drawn(match[1]), LINK.sub(link, SOURCE.sub(r"\\[\1\\] ", markdown)))
    return WALLS.sub(lambda match: draw_walls(match[1], layers(match[1])), markdown)


def on_page_context(context: TemplateContext, page: Page, config: MkDocsConfig, **_: Any) -> TemplateContext:
    """Gives a page in Chinese its language, which the theme has for a whole site: of its HTML and the theme's words."""
    config.theme["language"] = "zh" if page.file.src_uri.endswith(".zh-CN.md") else "en"
    return context


def _directive(name: str) -> str:
    """Returns the lines by which mkdocstrings writes about one name."""
    options = "\n    options: {show_if_no_docstring: true}" if name in VALUES else ""
    return f"::: inkflow.engine.{name}{options}\n\n"


def _drawn(text: str) -> str:
    return draw_sequence(text) if text.startswith("sequenceDiagram") else draw_flowchart(parse_flowchart(text))


def _source_page(path: str) -> str:
    return f"{path.removesuffix('.py')}.md"
