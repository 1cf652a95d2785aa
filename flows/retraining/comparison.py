"""Compares the models of a retraining with those of the commit before, and words it for a commit and a request."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.ci.pull_request import Check
from flows.core.gates import count_statuses, evaluate_gates
from flows.core.params_edit import has_models
from flows.core.redaction import masked_markdown
from flows.core.stage_program import run_program
from flows.core.values import signed
from flows.dvc_repo.history.run_files import fetch_run
from flows.registry.new_images import evaluate_again
from stages.base.errors import InkflowError

OLD, NEW = "before", "retrained"


@dataclass(frozen=True)
class Comparison:
    """The models before and after a retraining.

    Attributes:
        table: the content of compare.json; None if the models cannot be compared.
        note: a sentence on the comparison, or why there is none; may be empty.
        gates: the results of the gates; None in a project without them.
    """

    table: dict[str, Any] | None
    note: str
    gates: dict[str, Any] | None

    @property
    def headline(self) -> str:
        """The result in a few words."""
        return self.table["headline"] if self.table else f"not compared: {self.note}"

    @property
    def gates_line(self) -> str:
        """The numbers of gates by result; empty without gates."""
        if self.gates is None:
            return ""
        counts = ", ".join(f"{number} {status}" for status, number in count_statuses(self.gates).items() if number)
        note = f" ({self.gates['note']})" if self.gates["note"] else ""
        return f"{counts or 'none is set'}{note}"


def compare_with_commit(project: Path, commit: str) -> Comparison:
    """Compares the models in the workspace `project` with those of a commit, on the workspace's test images.

    If the new data have other test images, the old models are evaluated on these first. What cannot be compared is no
    error: the comparison says why.
    """
    if not has_models(project):
        return Comparison(None, "this project has no models of Inkflow's pipeline", None)
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / OLD
        try:
            fetch_run(project, commit, old)
            note = evaluate_again(project, old)
            versions = [f"--old={OLD}={old}", f"--new={NEW}={project.resolve()}", "--out", f"{folder}/out"]
            run_program("report.compare_runs", versions, project)
            table = json.loads((Path(folder) / "out/compare.json").read_text(encoding="utf-8"))
            return Comparison(table, note, evaluate_gates(project, old))
        except InkflowError as error:
            return Comparison(None, str(error).replace(f"{old}/", ""), _gates_alone(project))


def _gates_alone(project: Path) -> dict[str, Any] | None:
    try:
        return evaluate_gates(project)
    except InkflowError:  # the stage that failed has told it
        return None


def checks(comparison: Comparison) -> list[Check]:
    """Returns the gates as statuses of a commit: one for each kind of gate, over all models."""
    if comparison.gates is None:
        return []
    by_gate: dict[str, list[dict[str, Any]]] = {}
    for check in comparison.gates["checks"]:
        by_gate.setdefault(check["gate"], []).append(check)
    return [_check(gate, results) for gate, results in by_gate.items()]


def _check(gate: str, results: Sequence[dict[str, Any]]) -> Check:
    failed, unknown = ([result for result in results if result["status"] == name] for name in ("failed", "not judged"))
    if failed:
        sentence = f"{len(failed)} of {len(results)} models failed: {failed[0]['model']}: {failed[0]['sentence']}"
    elif unknown:
        count = f" ({len(unknown)} of {len(results)} models)" if len(unknown) < len(results) else ""
        sentence = f"not judged{count}: {unknown[0]['sentence']}"
    else:
        sentence = f"{len(results)} of {len(results)} models passed"
    return Check(f"inkflow/{gate}", False if failed else None if unknown else True, sentence)


def as_lines(comparison: Comparison) -> list[str]:
    """Returns the comparison in plain lines, for the message of a commit."""
    rows = comparison.table["models"] if comparison.table else []
    lines = [f"{row['model']}: {row['old']:.4f} -> {row['new']:.4f}, {row['verdict']} (p {_p(row)})" for row in rows]
    note = [f"Note: {comparison.note}"] if comparison.note and comparison.table else []
    gates = [f"Gates: {comparison.gates_line}"] if comparison.gates else []
    return [f"Models: {comparison.headline}", *lines, *note, *gates]


def as_markdown(comparison: Comparison) -> str:
    """Returns the comparison as Markdown, for the text of a request."""
    parts = [f"**{_cell(comparison.headline)}**"]
    table = comparison.table
    if table and table["models"]:
        rows = [
            f"| {_cell(row['model'])} | {row['old']:.4f} | {row['new']:.4f} | {signed(row['difference'])} "
            f"| {signed(row['low'])} to {signed(row['high'])} | {_p(row)} | {row['verdict']} |"
            for row in table["models"]
        ]
        kind = "corrected interval" if len(rows) > 1 else "95% interval"  # at the level of Holm's test
        head = f"| model | before | retrained | difference | {kind} | p (Holm) | verdict |"
        parts.append("\n".join([head, "|---|--:|--:|--:|--:|--:|---|", *rows]))
    if table:
        sentences = [text for text in (comparison.note, table["evidence"]) if text.rstrip(".")]
        parts += [f"{_cell(text[0].upper() + text[1:])}." for text in sentences]
    if comparison.gates:
        parts.append(f"### Gates: {_cell(comparison.gates_line)}")
        cells = (("model", "gate", "status", "sentence"), *_gate_rows(comparison.gates))
        lines = [f"| {' | '.join(row)} |" for row in cells]
        parts.append("\n".join([lines[0], "|---|---|---|---|", *lines[1:]]))
    return "\n\n".join(parts)


def _gate_rows(gates: dict[str, Any]) -> list[tuple[str, ...]]:
    order = ("failed", "not judged", "passed")
    checks = sorted(gates["checks"], key=lambda check: order.index(check["status"]))
    return [tuple(_cell(check[key]) for key in ("model", "gate", "status", "sentence")) for check in checks]


def _p(row: dict[str, Any]) -> str:
    return f"{row['corrected_p']:.3g}"


def _cell(text: str) -> str:
    return masked_markdown(text.rstrip("."))
