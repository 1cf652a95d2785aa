"""The report on Prefect's page of a flow run: summary, table of models, link to the whole page, pictures inline."""

import base64
import csv
import platform
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.core.redaction import mask

SUMMARY, METRICS, PAGE = Path("reports/summary.md"), Path("reports/metrics.csv"), Path("reports/index.html")
PICTURES = Path("reports/plots")
# What the table shows, of what metrics.csv holds, and how; the rest is in the page.
COLUMNS = {
    "model": "model", "test_accuracy": "test accuracy", "test_accuracy_low": "from", "test_accuracy_high": "to",
    "test_errors": "errors", "test_loss": "log-loss", "calibration_error": "calibration error",
    "gap_points": "gap (points)", "mean_absolute_error": "mean absolute error",
    "mean_absolute_error_low": "error from", "mean_absolute_error_high": "error to",
    "root_mean_squared_error": "root mean square", "r2": "R²", "parameters": "parameters",
}  # fmt: skip


def publish(root: Path) -> None:
    """Put what the report says on the present flow run; what is not there is left out.

    Prefect's artifacts are versions under a key: the page of a key shows how it changed from run to run.
    """
    if (root / SUMMARY).is_file():
        text = mask((root / SUMMARY).read_text(encoding="utf-8"))
        create_markdown_artifact(text + pictures(root), "inkflow-summary", "The report in brief")
    rows = table(root)
    if rows:
        create_table_artifact(rows, "inkflow-models", "Scores on the test images")
    if (root / PAGE).is_file():
        page = (root / PAGE).resolve()
        # A browser opens no file from a page of the web: the path is what can be copied.
        said = f"The whole report, a file on {platform.node()}: copy the path and open it there"
        create_link_artifact(page.as_uri(), f"`{page}`", "inkflow-report", said)


def table(root: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, as people read them; columns that are empty throughout are left out."""
    if not (root / METRICS).is_file():
        return []
    with (root / METRICS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    return [{COLUMNS[name]: mask(_plain(row[name])) for name in kept} for row in rows]


def pictures(root: Path) -> str:
    """Pictures beside the report as Markdown with data URIs."""
    lines = []
    for path in sorted((root / PICTURES).glob("*.png")):
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        lines.append(f"\n![{path.stem}](data:image/png;base64,{data})\n")
    return "".join(lines)


def _plain(text: str) -> str:
    """A number in six significant digits; other text as it is."""
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text
