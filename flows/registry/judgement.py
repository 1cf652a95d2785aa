"""Judges whether a model may have a stage: by its quality gates, and against the version that holds the stage."""

import csv
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.core.commit import file_sha256
from flows.core.errors import ProgramFailed, RevisionUnusable
from flows.core.gates import evaluate_gates
from flows.core.params_edit import has_models
from flows.core.redaction import mask
from flows.dvc_repo.history.run_files import fetch_run
from flows.dvc_repo.versions.artifacts import Artifact
from flows.engine.output_backup import earlier_outputs
from flows.registry.new_images import evaluate_again
from flows.registry.tags import ModelVersion

SCORES = Path("reports/metrics.csv")
SCORE_COLUMNS = ("validation_", "test_", "mean_absolute_error", "root_mean_squared_error", "r2")  # how they begin
ACCEPTED = "accepted"  # the gate that compares a model with its accepted version


@dataclass(frozen=True)
class Judgement:
    """Why a model may not have a stage, and what the tag of its version records.

    Attributes:
        problems: sentences; empty if it may.
        facts: trailers of the tag, by key.
    """

    problems: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)


def judge(root: Path, artifact: Artifact, holder: ModelVersion | None) -> Judgement:
    """Judges the artifact in the workspace by the gates of params.yaml, and against `holder` on the same test images.

    If the test images have changed since, `holder` is evaluated on the new ones first.

    In a project without models of Inkflow's own pipeline nothing is judged.

    If the files of `holder` are lost, that is a problem: the artifact cannot be compared with it.

    Raises:
        ProgramFailed: a file of the evaluation is missing or broken.
    """
    file = root / artifact.path
    facts = {"Model-SHA256": file_sha256(file)} if file.is_file() else {}
    if not has_models(root):
        return Judgement(facts=facts)
    with tempfile.TemporaryDirectory() as folder, earlier_outputs(root) as outputs:
        accepted, note, lost = _accepted(root, holder, Path(folder), outputs) if holder else (None, "", "")
        record = evaluate_gates(outputs, accepted)
    model = Path(artifact.path).parent.name
    checks = [check for check in record["checks"] if check["model"] == model]
    if not checks:
        return Judgement((f"no gate judges {artifact.path}: params.yaml has no model {model}",), facts)
    gates = [check for check in checks if check["gate"] != ACCEPTED]
    comparison = next((check for check in checks if check["gate"] == ACCEPTED), None)
    problems = [lost] if lost else []
    problems += [
        f"{check['gate'].replace('_', ' ')}: {check['sentence']}" for check in gates if check["status"] == "failed"
    ]
    if record["note"] and any(check["status"] == "not judged" for check in gates):
        problems.append(f"its gates are not judged: {record['note']}")
    facts |= {"Gates": _counts(gates) + (f" ({record['note']})" if record["note"] else "")}
    facts |= {"Scores": json.dumps(scores(root, model))}
    if lost:
        facts["Compared"] = lost
    elif comparison is not None and holder is not None:
        sentence = comparison["sentence"].replace("the accepted version", holder.version)
        facts["Compared"] = f"{sentence}; {note}" if note else sentence
        if comparison["status"] != "passed":
            problems.append(sentence)
    return Judgement(tuple(problems), facts)


def _accepted(root: Path, holder: ModelVersion, folder: Path, outputs: Path) -> tuple[Path | None, str, str]:
    """Fetches the files of `holder` into `folder`, evaluated on the test images of the project in `outputs`.

    Returns:
        The folder, and a note about new test images; or None, no note, and why there is nothing to compare with.
    """
    try:
        fetch_run(root, holder.commit, folder)
    except RevisionUnusable as error:
        return None, "", mask(f"{holder.version} cannot be compared: {error}")  # the tag will record it
    try:
        return folder, evaluate_again(outputs, folder), ""
    except ProgramFailed:  # it does not fit the new images: the gate says that they are others
        return folder, "", ""


def scores(root: Path, model: str) -> dict[str, Any]:
    """Returns the scores of `model` with their intervals, as reports/metrics.csv has them; empty without one."""
    try:
        with (root / SCORES).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("model") == model]
    except OSError:
        return {}
    return {
        name: float(value) for row in rows for name, value in row.items() if name.startswith(SCORE_COLUMNS) and value
    }


def _counts(checks: list[dict[str, Any]]) -> str:
    statuses = [check["status"] for check in checks]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
