"""What a lane of CI found, as lines for people, Markdown for the job's page, and JUnit XML for CI's own lists."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flows.core.redaction import mask
from stages.base.files import write_text


class Verdict(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Step:
    """One step of a lane, with what it found: a sentence each."""

    name: str
    verdict: Verdict
    found: tuple[str, ...]

    @property
    def text(self) -> str:
        """The step in a line for each thing found."""
        return "\n".join(f"{self.verdict:<8}{self.name:<9}{mask(line)}" for line in self.found)


def keep(lane: str, steps: Sequence[Step], folder: Path, report: str = "") -> None:
    """Write `<lane>.md` and `<lane>.xml` into `folder`, and the Markdown on the job's page, in a job of GitHub."""
    text = markdown(lane, steps, report)
    write_text(folder / f"{lane}.md", text)
    write_text(folder / f"{lane}.xml", junit(lane, steps))
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(text)


def markdown(lane: str, steps: Sequence[Step], report: str = "") -> str:
    """The lane as Markdown: a table of its steps, then the report in brief."""
    failed = [step.name for step in steps if step.verdict is Verdict.FAILED]
    title = f"### inkflow ci {lane}: {'failed at ' + ', '.join(failed) if failed else 'passed'}"
    rows = [f"| {step.name} | {step.verdict} | {'<br>'.join(map(_cell, step.found))} |" for step in steps]
    table = "\n".join(["| step | result | what |", "|---|---|---|", *rows])
    return mask("\n\n".join(part for part in (title, table, report.strip()) if part)) + "\n"


def junit(lane: str, steps: Sequence[Step]) -> str:
    """The lane as JUnit XML: a test case for each step."""
    counts = {verdict: sum(step.verdict is verdict for step in steps) for verdict in Verdict}
    suite = ElementTree.Element("testsuite", {
        "name": f"inkflow ci {lane}", "tests": str(len(steps)), "failures": str(counts[Verdict.FAILED]),
        "skipped": str(counts[Verdict.SKIPPED]), "errors": "0",
    })  # fmt: skip
    kinds = {Verdict.FAILED: "failure", Verdict.SKIPPED: "skipped"}
    for step in steps:
        case = ElementTree.SubElement(suite, "testcase", {"classname": f"ci.{lane}", "name": step.name})
        if step.verdict in kinds:
            ElementTree.SubElement(case, kinds[step.verdict], {"message": mask("\n".join(step.found))})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _cell(text: str) -> str:
    """`text` as it may stand in a cell: what a stage said must make neither columns nor tags."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(plain.split())
