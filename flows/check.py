"""`inkflow check`: the quality gates of params.yaml, for people (a table), programs (JSON) and CI (JUnit XML).

The stage `report` judges and records in reports/gates.json, and never fails by it: a judgement is a result, which DVC
caches like any other. What fails is `inkflow check` and the last step of the flow, by `enforce`.
"""

import argparse
import json
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.errors import GatesFailed
from flows.programs import run_program
from stages.base.errors import EXIT_DONE, EXIT_FAILED, InvalidInput
from stages.base.files import write_text

RECORD = Path("reports/gates.json")
COLOURS = {"passed": "green", "failed": "bold red", "not judged": "dim"}


def check(arguments: argparse.Namespace) -> int:
    """Judge the models, print or write the judgement, and give the exit code."""
    found = judge(Path(), arguments.against)
    if arguments.junit:
        write_text(arguments.junit, junit(found))
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(found, Console())
    return EXIT_DONE if found["passed"] else EXIT_FAILED


def judge(root: Path, against: str | None = None) -> dict[str, Any]:
    """The judgement on the models as they lie below `root`.

    Raises:
        ProgramFailed: a file is missing or broken.
        RevisionUnusable: there is no version `against`, or its files are gone.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gates.json"
        accepted: list[str | Path] = []
        if against is not None:
            from flows.dvc_files import fetch_run  # late: DVC takes its time to import

            fetch_run(root, against, Path(folder) / "accepted")
            accepted = ["--accepted", Path(folder) / "accepted"]
        run_program("report.check_gates", ["--out", out, *accepted], root)
        record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return record


def enforce(root: Path) -> str:
    """What the report's own judgement says, in a sentence: the last step of the flow.

    Raises:
        GatesFailed: a gate failed; the message names each.
        InvalidInput: there is no judgement.
    """
    try:
        found = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{RECORD}: cannot be read; run `inkflow run report`") from error
    failed = [check for check in found["checks"] if check["status"] == "failed"]
    if failed:
        raise GatesFailed([f"{check['model']}, {check['gate']}: {check['sentence']}" for check in failed])
    note = f" ({found['note']})" if found["note"] else ""
    counts = _counts(found)
    unjudged = f", {counts['not judged']} not judged" if counts["not judged"] else ""
    return f"{counts['passed']} quality gates passed{unjudged}{note}"


def show(found: dict[str, Any], console: Console) -> None:
    """Print the judgement as a table."""
    table = Table("model", "gate", "result", "figures", box=None, pad_edge=False)
    for check in found["checks"]:
        result = Text(check["status"], COLOURS[check["status"]])
        table.add_row(Text(check["model"]), Text(check["gate"].replace("_", " ")), result, Text(check["sentence"]))
    console.print(table)
    if found["note"]:
        console.print(Text(found["note"]))
    counts = ", ".join(f"{number} {status}" for status, number in _counts(found).items() if number)
    console.print(f"{len(found['checks'])} gates: {counts or 'none is set'}")


def _counts(found: dict[str, Any]) -> dict[str, int]:
    """How many checks have each status."""
    statuses = [check["status"] for check in found["checks"]]
    return {status: statuses.count(status) for status in COLOURS}


def junit(found: dict[str, Any]) -> str:
    """The judgement as JUnit XML: a test case for each gate."""
    counts = _counts(found)
    suite = ElementTree.Element("testsuite", {
        "name": "inkflow gates", "tests": str(len(found["checks"])), "failures": str(counts["failed"]),
        "skipped": str(counts["not judged"]), "errors": "0",
    })  # fmt: skip
    for check in found["checks"]:
        case = ElementTree.SubElement(suite, "testcase", {"classname": check["model"], "name": check["gate"]})
        if check["status"] == "failed":
            ElementTree.SubElement(case, "failure", {"message": check["sentence"]})
        elif check["status"] == "not judged":
            ElementTree.SubElement(case, "skipped", {"message": check["sentence"]})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"
