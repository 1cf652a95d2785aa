"""Publishes artifacts of a flow run: summary, plots, table and page of the report; numbers and files of a score."""

import base64
import csv
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import Artifact, LinkArtifact, MarkdownArtifact, TableArtifact, create_markdown_artifact
from prefect.context import FlowRunContext

from flows.core.redaction import mask, masked_code, masked_markdown
from stages.base.shown_text import text_of_csv

SUMMARY, METRICS, PAGE = Path("reports/summary.md"), Path("reports/metrics.csv"), Path("reports/index.html")
PLOTS = Path("reports/plots")
BRIEF = "inkflow-brief"  # Prefect's page sorts the artifacts of a run by key: this one is the first
# Columns of metrics.csv in the table, each with its heading; the page shows the others.
COLUMNS = {
    "model": "model", "validation_loss": "validation loss",
    "test_accuracy": "test accuracy", "test_accuracy_low": "from", "test_accuracy_high": "to",
    "test_errors": "errors", "test_loss": "log-loss", "calibration_error": "calibration error",
    "gap_points": "gap (points)", "mean_absolute_error": "mean absolute error",
    "mean_absolute_error_low": "error from", "mean_absolute_error_high": "error to",
    "root_mean_squared_error": "root mean square", "r2": "R²", "parameters": "parameters",
}  # fmt: skip

MAX_REJECTED = 200  # files in the artifact of a score; the list beside the table has all of them


@contextmanager
def publishing(content: str, show: Callable[[str], None]) -> Iterator[None]:
    """Publishes artifacts in the block; if the server does not take them, `show` gets a notice about the `content`."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Prefect's client documents no errors
        show(f"{content} not on Prefect's page: {mask(' '.join(str(error).split()))}")


def publish_status(markdown: str) -> None:
    """Create the artifact of the status for the current flow run: the newest version of its key is the present one."""
    create_markdown_artifact(markdown, "inkflow-status", "What is in use, what runs and waits, what needs a person")


def current_run() -> tuple[str, Callable[[str], None]] | None:
    """Return the id of the current flow run and a function that writes a line into its log; None outside of a run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return str(context.flow_run.id), get_run_logger().warning


def publish_scores(counts: str, table: Path, rejected: Path) -> None:
    """Create the artifact of a score for the current flow run; see `scores_markdown`."""
    create_markdown_artifact(scores_markdown(counts, table, rejected), "inkflow-scores", "The last score of a folder")


def scores_markdown(counts: str, table: Path, rejected: Path) -> str:
    """Return the Markdown of a score: `counts`, the paths of both files, the rejected files.

    Args:
        counts: the numbers of files by outcome.
        table: the Parquet file of predictions.
        rejected: the CSV file with the columns name and reason of the files that could not be scored.
    """
    with rejected.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    lines = [f"{mask(counts)}.", f"Predictions: {masked_code(str(table.resolve()))} on {mask(platform.node())}"]
    if rows:
        lines.append(f"Files that could not be scored: {masked_code(str(rejected.resolve()))}")
        items = rows[:MAX_REJECTED]
        lines.append(
            "\n".join(
                f"- {masked_code(text_of_csv(name))}: {masked_markdown(text_of_csv(reason))}" for name, reason in items
            )
        )
    if len(rows) > MAX_REJECTED:
        lines.append(f"and {len(rows) - MAX_REJECTED} more")
    return "\n\n".join(lines)


def publish_report(root: Path, *, link: bool = True) -> None:
    """Create the artifacts of the report in `root` for the current flow run; see `report_artifacts`."""
    for artifact in report_artifacts(root, link=link):
        artifact.create()


def report_artifacts(root: Path, *, link: bool = True) -> list[Artifact]:
    """Return the artifacts of the report in `root`; missing files are skipped.

    Artifacts are versions under a key: Prefect's page of a key shows how it changed from run to run. Without `link`, no
    artifact names the page, as in a clone that is removed after its run.
    """
    found: list[Artifact] = []
    if (root / SUMMARY).is_file():
        text = with_plots(mask((root / SUMMARY).read_text(encoding="utf-8")), root / PLOTS)
        found.append(MarkdownArtifact(markdown=text, key=BRIEF, description="The report in brief, with its chart"))
    if rows := metrics_table(root):
        description = "Models in the order of the validation part, which chooses, with their scores on the test images"
        found.append(TableArtifact(table=rows, key="inkflow-models", description=description))
    if link and (root / PAGE).is_file():
        page = (root / PAGE).resolve()
        # Browsers do not open a file from a web page: the link's text is the path, to be copied.
        description = f"The full report, a file on {platform.node()}: copy the path and open it there"
        text, address = masked_code(str(page)), mask(page.as_uri())
        found.append(LinkArtifact(link=address, link_text=text, key="inkflow-report", description=description))
    return found


def publish_search(folder: Path | None) -> None:
    """Create the artifact of a search for the current flow run: summary and pictures in `folder`, if there is one."""
    if folder is not None:
        create_markdown_artifact(search_markdown(folder), "inkflow-search", "The search in brief")


def search_markdown(folder: Path) -> str:
    """Return the Markdown of a search: the summary in `folder`, with its pictures."""
    return with_plots(mask((folder / SUMMARY.name).read_text(encoding="utf-8")), folder)


def metrics_table(root: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv with readable headings and numbers, without empty columns."""
    if not (root / METRICS).is_file():
        return []
    with (root / METRICS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    return [{COLUMNS[name]: mask(_format(row[name])) for name in names} for row in rows]


def with_plots(text: str, folder: Path) -> str:
    """Return the Markdown `text` as Prefect's page shows it: the plots in `folder` after its title, readable alerts."""
    title, end, rest = text.partition("\n") if text.startswith("#") else ("", "", text)
    return f"{title}{end}{plots_as_markdown(folder)}{rest}".replace("> [!WARNING]", "> **Warning**")


def plots_as_markdown(folder: Path) -> str:
    """Return the pictures in the folder as Markdown images with data URIs."""
    lines = []
    for path in sorted(folder.glob("[!.]*.png")):
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        lines.append(f"\n![{masked_markdown(path.stem)}](data:image/png;base64,{data})\n")
    return "".join(lines)


def _format(text: str) -> str:
    """Return a number with six significant digits, and other text unchanged."""
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text
