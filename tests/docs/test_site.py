"""The documentation site: complete, built without warnings, and usable without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from mkdocs.config import load_config

from flows.cli.plan import EXIT_WORK_TO_DO
from flows.machines.comparison import EXIT_NO_ANSWER
from flows.status.parts import EXIT_NEEDS_PERSON
from stages.base.errors import EXIT_INTERRUPTED, EXIT_UNAVAILABLE
from stages.monitor.monitor import EXIT_ALARM
from tests.architecture.modules import dvc_stages
from tests.docs.commands import reference
from tests.docs.hooks import MERMAID
from tests.docs.pictures import Flowchart, draw_flowchart, draw_sequence, parse_flowchart
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium, open_page
from tests.support.root import ROOT

MADE = {
    "index.md",
    "index.zh-CN.md",
    "changes.md",
    "contributing.md",
    "license.md",
    "reference/commands.md",
    "reference/python.md",
}
OUTSIDE = re.compile(
    r"""(?:<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?|@import |url\(["']?)(?:https?:)?//[^"' >)]+"""
)
LANGUAGE = re.compile(r'<html lang="?([\w-]+)')
SELF = re.compile(r'<link[^>]*rel="?(?:canonical|prev|next)')


def pages(nav: Any) -> list[str]:
    """Returns all pages of a navigation."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages(part)]


def top(path: Any) -> str:
    """Returns the folder of an output or a dependency of dvc.yaml: models, evaluation, data/raw, data/prepared."""
    name = path if isinstance(path, str) else next(iter(path))
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "data" else parts[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # about MkDocs, not about this site
    done = subprocess.run(command, cwd=ROOT, env=os.environ | quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_navigation() -> None:
    """Each page in docs/ has a place in `nav` of mkdocs.yml, once; add a new page there."""
    named = pages(load_config(str(ROOT / "mkdocs.yml"))["nav"])
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert written - set(named) == set()
    assert sorted(set(named)) == sorted(named)
    assert set(named) - written == MADE


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    """No page, style or script names a script, style, font or picture of another server."""
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 30
    found = {
        (path.name, hit) for path in files for hit in OUTSIDE.findall(SELF.sub("", path.read_text(encoding="utf-8")))
    }
    assert found == set()


def test_pages_in_chinese_say_so(site: Path) -> None:
    """Their HTML has the language, by which browsers choose glyphs and voices; the others are in English."""
    languages = {
        str(path.relative_to(site)): LANGUAGE.findall(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    chinese = {name for name, found in languages.items() if found == ["zh"]}
    assert chinese == {"index.zh-CN.html", "tutorial.zh-CN.html"}
    assert {tuple(found) for name, found in languages.items() if name not in chinese} == {("en",)}


def test_the_reference_of_commands_is_written_out() -> None:
    """The page of the commands has values in the place of argparse's variables, and the values' names as `--help`."""
    page = reference()
    assert "%(" not in page and "%%" not in page and "('" not in page
    assert "| `--host HOST` | address to listen on (default: 127.0.0.1) |" in page
    assert "| `--pixels BLACK WHITE` |" in page and "| `--template {small,digits}` |" in page
    codes = {EXIT_WORK_TO_DO, EXIT_NEEDS_PERSON, EXIT_ALARM, EXIT_NO_ANSWER, EXIT_UNAVAILABLE, EXIT_INTERRUPTED}
    assert all(f"\n| {code} | " in page for code in codes)


def test_the_reference_is_made_from_the_code(site: Path) -> None:
    """The pages of the commands and of Python have what the parsers and docstrings have."""
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert (
        'id="inkflow-run"' in commands and "edit params.yaml first" in commands and 'id="inkflow-ci-check"' in commands
    )
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "inkflow.engine.Project.run" in python and "Brings stages up to date" in python
    assert "_EventDisplay" not in python


@pytest.mark.farm
@pytest.mark.browser
@pytest.mark.skipif(*NEEDS_CHROMIUM[1].args, **NEEDS_CHROMIUM[1].kwargs)
def test_the_site_works_from_a_folder(site: Path) -> None:
    """Opened from the disk, the search finds pages, pictures are drawn, nothing is requested from outside."""
    problems: list[str] = []
    with open_chromium() as browser:
        page = open_page(browser)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.goto((site / "overview.html").as_uri())
        assert page.locator(".picture svg[role=img]").count() == 2
        page.locator("input.md-search__input").click()
        page.keyboard.type("checkpoint")
        page.locator(".md-search-result__meta", has_text="matching documents").wait_for()
        page.keyboard.press("Control+a")
        page.keyboard.type("漂移")  # within sentences, which no spaces divide into words
        page.keyboard.press("End")  # the search follows keys
        page.locator(".md-search-result__link[href*='zh-CN']").first.wait_for()
        page.keyboard.press("Escape")
        serious = [
            entry for entry in Axe().run(page).response["violations"] if entry["impact"] in ("serious", "critical")
        ]
        own = [node for entry in serious for node in entry["nodes"] if "picture" in str(node["target"])]
        assert own == []
    assert problems == []


def test_the_drawn_pipeline_is_that_of_dvc_yaml() -> None:
    """The picture of the pipeline has the stages of dvc.yaml, and each of its edges is a dependency there."""
    text = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")
    chart = parse_flowchart(MERMAID.findall(text)[1])
    stages = {name: re.split("[:@]", label)[0] for name, label in chart.labels.items()}
    assert set(stages.values()) == set(dvc_stages())
    for left, right, _ in chart.edges:
        entry = dvc_stages()[stages[right]]
        written = {top(output) for kind in ("outs", "metrics") for output in dvc_stages()[stages[left]].get(kind, [])}
        assert written & {top(dependency) for dependency in entry["deps"]}, (left, right)


def test_flowcharts_are_drawn_without_overlap() -> None:
    """Each node is a box with its text, in a column behind those before it; a long edge passes beside boxes."""
    chart = parse_flowchart('flowchart LR\n    a["x_1 & y"] --> b\n    b --> c\n    a <--> c\n')
    assert chart == Flowchart(
        {"a": "x_1 & y", "b": "b", "c": "c"}, [("a", "b", False), ("b", "c", False), ("a", "c", True)]
    )
    svg = draw_flowchart(chart)
    assert "x&#95;1 &amp; y" in svg and svg.count("<rect") == 3 and svg.count("marker-start") == 1
    tops = [float(top) for top in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', svg)]
    assert len(set(tops)) > 1


@pytest.mark.parametrize(
    ("draw", "text", "message"),
    [
        (parse_flowchart, "flowchart LR\na -.-> b", "expected `a --> b`"),
        (lambda text: draw_flowchart(parse_flowchart(text)), "flowchart LR\na --> b\nb --> a", "has a circle"),
        (draw_sequence, "sequenceDiagram\nnote right of a", "expected `a->>b: text`"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw: Any, text: str, message: str) -> None:
    """Syntax of Mermaid that the pages do not use yet stops the build, with the line."""
    with pytest.raises(Exception, match=message):
        draw(text)
