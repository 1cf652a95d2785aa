"""reports/summary.md: the page in brief, for a pull request or a CI log."""

import html
import re

from stages.report import formats, model_comparison, sentences
from stages.report.facts import Facts, Group, ValueGroup
from stages.report.gates import Judgement
from stages.report.model_facts import ModelFacts, ValueFacts

ROWS = 36  # of all tables: with them the summary stays under 60 lines
HEAD = (
    "| Model | Test accuracy | 95% interval | Errors | Log-loss | Brier | Macro F1 | Calibration error"
    " | Training accuracy | Gap (points) | Epochs | Parameters | Size |",
    "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)
VALUES_HEAD = (
    "| Model | Mean absolute error | 95% interval | Root mean square | R² | Epochs | Parameters | Size |",
    "|---|---:|---|---:|---:|---:|---:|---:|",
)


def render_summary(facts: Facts, judgement: Judgement | None = None) -> str:
    """The report as GitHub-flavoured Markdown of fewer than 60 lines."""
    said, about = model_comparison.verdict(facts), facts.data.description
    lines = [f"## {_escape(said.headline)}", "", *_banner(facts), *_gates(judgement), _escape(said.evidence)]
    room = ROWS
    groups: list[Group | ValueGroup] = [*facts.groups, *facts.values]
    for group in groups:
        lines += ["", *_table(group, max(room, 0))]
        room -= len(group.models) + 3
    left_out = len(facts.models) - sum(line.startswith("| `") for line in lines)
    return "\n".join(
        [
            *lines,
            *(["", f"{left_out} more in `reports/metrics.csv`."] if left_out > 0 else []),
            "",
            f"Data: {_escape(about.title)}, {formats.count(len(facts.data.arrays.y_test))} test images."
            f" {_escape(sentences.duplicates(facts))} Everything else is in `reports/index.html`.",
            *_confusions(facts),
            "",
        ]
    )


def _gates(judgement: Judgement | None) -> list[str]:
    if judgement is None:
        return []
    passed = sum(check.status == "passed" for check in judgement.checks)
    failed = [f"{check.model}, {check.gate}: {check.sentence}" for check in judgement.failed[:3]]
    said = f"Quality gates: {passed} passed, {len(judgement.failed)} failed"
    return [f"**{said}**: {_escape('; '.join(failed))}." if failed else f"{said}.", ""]


def _table(group: Group | ValueGroup, rows: int) -> list[str]:
    if not rows:
        return []
    if isinstance(group, Group):
        return [*HEAD, *map(_row, group.models[:rows])]
    return [*VALUES_HEAD, *map(_value_row, group.models[:rows])]


def _banner(facts: Facts) -> list[str]:
    warning = sentences.stand_in(facts)
    if warning is None:
        return []
    wanted = facts.data.description.stand_in_for
    return [
        "> [!WARNING]",
        f"> **{_escape(warning)}**",
        f"> For the real data set: `inkflow run --dataset {wanted}`",
        "",
    ]


def _row(model: ModelFacts) -> str:
    training, exam = model.training, model.exam
    gap = formats.points(model.gap)
    note = sentences.overfitting(model)
    cells = (
        f"`{model.name}`",
        formats.percent(exam.accuracy),
        f"{formats.percent(model.interval.low)} to {formats.percent(model.interval.high)}",
        formats.count(exam.errors),
        f"{exam.loss:.4f}",
        f"{model.scores.brier:.4f}",
        f"{model.scores.macro_f1:.4f}",
        f"{model.scores.calibration_error:.4f}",
        formats.percent(model.training_accuracy),
        f"{gap}, {note}" if note else gap,
        formats.count(training.epochs),
        formats.count(training.parameters),
        formats.megabytes(model.onnx.size),
    )
    return f"| {' | '.join(cells)} |"


def _value_row(model: ValueFacts) -> str:
    cells = (
        f"`{model.name}`",
        formats.number(model.mean_error),
        " to ".join(map(formats.number, model.interval)),
        formats.number(model.root_error),
        f"{model.explained:.4f}",
        formats.count(model.training.epochs),
        formats.count(model.training.parameters),
        formats.megabytes(model.onnx.size),
    )
    return f"| {' | '.join(cells)} |"


def _confusions(facts: Facts) -> list[str]:
    if not facts.groups:
        return []
    best = facts.groups[0].best
    said = sentences.confusions(best, best.class_names)
    return ["", f"Errors of `{best.name}`: {_escape(formats.listed(said))}."] if said else []


def _escape(text: str) -> str:
    """`text` on one line, with what HTML or Markdown would act upon made harmless."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|~#]|\b_|_\b)", r"\\\1", plain)
