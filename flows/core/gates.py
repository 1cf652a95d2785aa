"""Results of the quality gates: computed by the program `stages.report.check_gates`, or read from the report's record.

The stage `report` evaluates the gates, records the results in reports/gates.json, and succeeds even if a gate failed:
a result that DVC caches like any other. `inkflow check` and the last task of the flow fail if a gate failed.
"""

import tempfile
from pathlib import Path
from typing import Any

from flows.core.errors import GatesFailed
from flows.core.junit import JUnitCase, Outcome, junit_xml
from flows.core.stage_program import run_program
from stages.base.errors import InvalidInput
from stages.base.files import parse_json

RECORD = Path("reports/gates.json")
JUNIT_OUTCOMES: dict[str, Outcome] = {"passed": "passed", "failed": "failure", "not judged": "skipped"}


def evaluate_gates(root: Path, accepted: Path | None = None) -> dict[str, Any]:
    """Returns the gate results of the models below `root`, in the form of reports/gates.json.

    Args:
        root: the project.
        accepted: a folder with the files of an accepted revision, whose models are compared too.

    Raises:
        ProgramFailed: a file is missing or broken.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gates.json"
        options: list[str | Path] = [] if accepted is None else ["--accepted", accepted]
        run_program("report.check_gates", ["--out", out, *options], root)
        record: dict[str, Any] = parse_json(out.read_text(encoding="utf-8"))
    return record


def enforce_gates(root: Path) -> str:
    """Returns a summary of the gate results that the stage `report` recorded.

    Raises:
        GatesFailed: a gate failed; the message names each.
        InvalidInput: there is no readable record.
    """
    record = recorded_gates(root)
    if failed := failed_gates(record):
        raise GatesFailed(failed)
    counts = count_statuses(record)
    not_judged = f", {counts['not judged']} not judged" if counts["not judged"] else ""
    note = f" ({record['note']})" if record["note"] else ""
    return f"{counts['passed']} quality gates passed{not_judged}{note}"


def recorded_gates(root: Path) -> dict[str, Any]:
    """Returns the gate results that the stage `report` recorded.

    Raises:
        InvalidInput: there is no readable record.
    """
    try:
        record: dict[str, Any] = parse_json((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{RECORD}: cannot be read; run `inkflow run report`") from error
    return record


def failed_gates(record: dict[str, Any]) -> list[str]:
    """Returns a sentence for each failed gate."""
    failed = [check for check in record["checks"] if check["status"] == "failed"]
    return [f"{check['model']}, {check['gate']}: {check['sentence']}" for check in failed]


def count_statuses(record: dict[str, Any]) -> dict[str, int]:
    """Returns the number of gates with each status."""
    statuses = [check["status"] for check in record["checks"]]
    return {status: statuses.count(status) for status in JUNIT_OUTCOMES}


def junit(record: dict[str, Any]) -> str:
    """Returns the gate results as JUnit XML, with a test case for each gate."""
    cases = [
        JUnitCase(check["model"], check["gate"], JUNIT_OUTCOMES[check["status"]], check["sentence"])
        for check in record["checks"]
    ]
    return junit_xml("inkflow gates", cases)
