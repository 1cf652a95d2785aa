"""The result of a CI lane as lines for people, Markdown for the job's page, and JUnit XML for the service."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flows.core.junit import JUnitCase, Outcome, junit_xml
from flows.core.redaction import mask, masked_markdown
from stages.base.files import write_text


class Status(StrEnum):
    """The result of a step."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


JUNIT_OUTCOMES: dict[Status, Outcome] = {
    Status.PASSED: "passed", Status.FAILED: "failure", Status.SKIPPED: "skipped",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step of a lane, with its result and the sentences that explain it."""

    name: str
    status: Status
    messages: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line of text for each message."""
        return "\n".join(f"{self.status:<8}{self.name:<9}{mask(message)}" for message in self.messages)


def write_summary(lane: str, steps: Sequence[Step], folder: Path, report: str = "") -> None:
    """Writes `<lane>.md` and `<lane>.xml` into `folder`; appends the Markdown to the page of a GitHub job."""
    text = markdown(lane, steps, report)
    write_text(folder / f"{lane}.md", text)
    write_text(folder / f"{lane}.xml", junit(lane, steps))
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(text)


def markdown(lane: str, steps: Sequence[Step], report: str = "") -> str:
    """Returns the lane as Markdown: a table of its steps, then the text of `report`."""
    failed = [step.name for step in steps if step.status is Status.FAILED]
    title = f"### inkflow ci {lane}: {'failed at ' + ', '.join(failed) if failed else 'passed'}"
    rows = [f"| {step.name} | {step.status} | {'<br>'.join(map(masked_markdown, step.messages))} |" for step in steps]
    table = "\n".join(["| step | result | details |", "|---|---|---|", *rows])
    return mask("\n\n".join(part for part in (title, table, report.strip()) if part)) + "\n"


def junit(lane: str, steps: Sequence[Step]) -> str:
    """Returns the lane as JUnit XML: a test case for each step."""
    cases = [
        JUnitCase(f"ci.{lane}", step.name, JUNIT_OUTCOMES[step.status], "\n".join(step.messages)) for step in steps
    ]
    return junit_xml(f"inkflow ci {lane}", cases)
