"""The judgement of the quality gates, asked of the program that judges, or read from where the report recorded it.

The stage `report` judges and records in reports/gates.json, and never fails by it: a judgement is a result, which DVC
caches like any other. `inkflow check` and the last step of the flow fail by it.
"""

import json
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from flows.core.errors import GatesFailed
from flows.core.stage_program import run_program
from stages.base.errors import InvalidInput

RECORD = Path("reports/gates.json")
STATUSES = ("passed", "failed", "not judged")


def judge(root: Path, accepted: Path | None = None) -> dict[str, Any]:
    """The judgement on the models below `root`; also against those of an `accepted` version in a folder.

    Raises:
        ProgramFailed: a file is missing or broken.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gates.json"
        options: list[str | Path] = [] if accepted is None else ["--accepted", accepted]
        run_program("report.check_gates", ["--out", out, *options], root)
        record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return record


def enforce(root: Path) -> str:
    """Summarises the judgement that the report recorded, in a sentence.

    Raises:
        GatesFailed: a gate failed; the message names each.
        InvalidInput: there is no judgement.
    """
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{RECORD}: cannot be read; run `inkflow run report`") from error
    failed = failures(record)
    if failed:
        raise GatesFailed(failed)
    note = f" ({record['note']})" if record["note"] else ""
    counts = count_statuses(record)
    unjudged = f", {counts['not judged']} not judged" if counts["not judged"] else ""
    return f"{counts['passed']} quality gates passed{unjudged}{note}"


def failures(record: dict[str, Any]) -> list[str]:
    """Each failed gate in a sentence."""
    failed = [check for check in record["checks"] if check["status"] == "failed"]
    return [f"{check['model']}, {check['gate']}: {check['sentence']}" for check in failed]


def count_statuses(record: dict[str, Any]) -> dict[str, int]:
    """How many checks have each status."""
    statuses = [check["status"] for check in record["checks"]]
    return {status: statuses.count(status) for status in STATUSES}


def junit(record: dict[str, Any]) -> str:
    """The judgement as JUnit XML: a test case for each gate."""
    counts = count_statuses(record)
    suite = ElementTree.Element("testsuite", {
        "name": "inkflow gates", "tests": str(len(record["checks"])), "failures": str(counts["failed"]),
        "skipped": str(counts["not judged"]), "errors": "0",
    })  # fmt: skip
    for check in record["checks"]:
        case = ElementTree.SubElement(suite, "testcase", {"classname": check["model"], "name": check["gate"]})
        if check["status"] == "failed":
            ElementTree.SubElement(case, "failure", {"message": check["sentence"]})
        elif check["status"] == "not judged":
            ElementTree.SubElement(case, "skipped", {"message": check["sentence"]})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"
