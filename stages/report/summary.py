"""reports/summary.md: the page in short, for a pull request or a CI log."""

from stages.base.shown_text import markdown_text
from stages.report import formats, model_comparison, sentences
from stages.report.data_card import Data
from stages.report.facts import Facts, ModelGroup
from stages.report.gates import GateResults
from stages.report.models.classifier import Classifier

MAX_ROWS = 36  # of all tables, which keeps the summary below 60 lines


def render_summary(facts: Facts, results: GateResults) -> str:
    """Returns the report as GitHub-flavoured Markdown of fewer than 60 lines."""
    verdict, about = model_comparison.verdict(facts.lead), facts.data.description
    lines = [f"## {markdown_text(verdict.headline)}", "", *_stand_in(facts.data), *_gates(results)]
    lines.append(markdown_text(f"{verdict.evidence} {model_comparison.recipes(facts.lead)}"))
    room, shown = MAX_ROWS, 0
    for group in facts.groups:
        rows = max(0, min(room, len(group.models)))
        lines += _table(group, rows)
        shown += rows
        room -= len(group.models) + 3
    omitted, images = len(facts.models) - shown, formats.plural(len(facts.data.arrays.y_test), f"test {about.noun}")
    return "\n".join(
        [
            *lines,
            *(["", f"{omitted} more in `reports/metrics.csv`."] if omitted else []),
            "",
            f"Data: {markdown_text(about.title)}, {images}."
            f" {markdown_text(sentences.duplicates(facts.data))} All details: `reports/index.html`.",
            *_confusions(facts),
            "",
        ]
    )


def _stand_in(data: Data) -> list[str]:
    warning = sentences.stand_in(data)
    if warning is None:
        return []
    return [
        "> [!WARNING]",
        f"> **{markdown_text(warning)}**",
        f"> For the original data set: `inkflow run --dataset {data.description.stand_in_for}`",
        "",
    ]


def _gates(results: GateResults) -> list[str]:
    summary = f"Quality gates: {results.summary}"
    failed = [f"{check.model}, {check.gate}: {check.sentence}" for check in results.failed[:3]]
    return [f"**{summary}**: {markdown_text('; '.join(failed))}." if failed else f"{summary}.", ""]


def _table(group: ModelGroup, rows: int) -> list[str]:
    if not rows:
        return []
    cells = group.cells(group.best)
    alignment = ["---" if cell.role == "range" else "---:" for cell in cells]
    table = [["Model", *(cell.heading for cell in cells)], ["---", *alignment]]
    for model in group.models[:rows]:
        texts = [
            ", ".join(filter(None, (f"{cell.text} ({cell.ends})" if cell.ends else cell.text, cell.note)))
            for cell in group.cells(model)
        ]
        table.append([f"`{model.name}`", *texts])
    table.append([markdown_text(group.trivial.title), *(cell.text for cell in group.trivial_cells)])
    return ["", *(f"| {' | '.join(row)} |" for row in table)]


def _confusions(facts: Facts) -> list[str]:
    best = facts.lead.chosen
    if isinstance(best, Classifier) and (confusions := sentences.confusions(best)):
        return ["", f"Errors of `{best.name}`: {markdown_text(formats.enumerate_words(confusions))}."]
    return []
