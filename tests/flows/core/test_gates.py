"""The gate results that the report recorded: what fails a run, and how it is told."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from flows.core.errors import GatesFailed
from flows.core.gates import RECORD, count_statuses, enforce_gates, failed_gates, junit
from stages.base.errors import InvalidInput


def check(gate: str, status: str) -> dict[str, str]:
    """Returns the result of one gate."""
    return {"model": "cnn", "gate": gate, "status": status, "sentence": f"about {gate}"}


def record(folder: Path, *statuses: str, note: str | None = None) -> dict[str, Any]:
    """Writes a record with a gate for each status."""
    content = {"note": note, "checks": [check(str(number), status) for number, status in enumerate(statuses)]}
    (folder / RECORD).parent.mkdir(exist_ok=True)
    (folder / RECORD).write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(
    ("statuses", "note", "text"),
    [
        (["passed", "passed"], None, "2 quality gates passed"),
        (["passed", "not judged"], None, "1 quality gates passed, 1 not judged"),
        (["not judged"], "digits only stands in", "0 quality gates passed, 1 not judged (digits only stands in)"),
        ([], None, "0 quality gates passed"),
    ],
)
def test_no_gate_failed(tmp_path: Path, statuses: list[str], note: str | None, text: str) -> None:
    """Without a failed gate the run succeeds, and says what passed and what was not judged."""
    record(tmp_path, *statuses, note=note)
    assert enforce_gates(tmp_path) == text


def test_one_failed_gate_is_enough(tmp_path: Path) -> None:
    """Each failed gate is named with its sentence, whatever the others say."""
    content = record(tmp_path, "passed", "failed", "not judged", "failed")
    assert failed_gates(content) == ["cnn, 1: about 1", "cnn, 3: about 3"]
    with pytest.raises(GatesFailed, match=r"(?s)cnn, 1: about 1.*cnn, 3: about 3"):
        enforce_gates(tmp_path)
    assert count_statuses(content) == {"passed": 1, "failed": 2, "not judged": 1}


@pytest.mark.parametrize("text", [None, "{"])
def test_no_record_is_no_success(tmp_path: Path, text: str | None) -> None:
    """Without a readable record nothing has passed."""
    if text is not None:
        record(tmp_path)
        (tmp_path / RECORD).write_text(text)
    with pytest.raises(InvalidInput, match="run `inkflow run report`"):
        enforce_gates(tmp_path)


def test_gates_for_ci(tmp_path: Path) -> None:
    """CI sees a failed gate as a failure and one that is not judged as skipped."""
    (suite,) = ElementTree.fromstring(junit(record(tmp_path, "passed", "failed", "not judged"))).iter("testsuite")
    assert [[child.tag for child in case] for case in suite.iter("testcase")] == [[], ["failure"], ["skipped"]]
