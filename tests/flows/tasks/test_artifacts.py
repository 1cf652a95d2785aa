"""Publishes the report as artifacts of a flow run on a real server."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.tasks.artifacts import metrics_table, plots_as_markdown, scores_markdown
from tests.support.prefect_api import api
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run
from tests.support.root import ROOT

# Runs in its own process: Prefect reads its settings when it is imported.
PROGRAM = """
import sys
from pathlib import Path
from prefect import flow
from flows.tasks.artifacts import publish_report

@flow(name="artifacts")
def published(root: str) -> None:
    publish_report(Path(root))

published(sys.argv[1])
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run on digits with two models and a report; tests only read it."""
    from stages.report import report

    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (32,), "cnn": (16,)}, epochs=2)
    assert report.main(run.arguments()) == 0
    return run


@pytest.mark.server
def test_summary_table_link_and_plot_reach_the_server(
    finished: Run, prefect_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow run has the summary with an inline plot, the table of models, and the link to the page as artifacts."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    command = [sys.executable, "-c", PROGRAM, str(finished.root)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    artifacts: list[dict[str, Any]] = api(
        prefect_url, "POST", "/artifacts/filter", {"flows": {"name": {"any_": ["artifacts"]}}}
    )
    latest = {entry["key"]: entry for entry in artifacts}
    assert set(latest) == {"inkflow-brief", "inkflow-models", "inkflow-report"}
    assert all(entry["flow_run_id"] for entry in latest.values())
    summary = (finished.out / "summary.md").read_text()
    assert min(latest) == "inkflow-brief", "Prefect's page sorts by key"
    title, chart, *rest = latest["inkflow-brief"]["data"].split("\n", 3)
    assert summary.startswith(f"{title}\n") and title.startswith("## ")
    assert (chart, rest[0][:34]) == ("", "![scores](data:image/png;base64,iV")
    assert "[!WARNING]" in summary and "[!WARNING]" not in rest[1]
    assert rest[1].endswith(summary.rpartition("[!WARNING]")[2])
    rows = json.loads(latest["inkflow-models"]["data"])
    assert {row["model"] for row in rows} == {"dense", "cnn", "trivial answer"}
    page = finished.out / "index.html"
    assert (
        latest["inkflow-report"]["data"] == f"[`{page}`]({page.as_uri()})"
    )  # browsers do not follow it; the text is to be copied
    assert platform.node() in latest["inkflow-report"]["description"]


def test_table_of_values(tmp_path: Path) -> None:
    """The table of regression models has the error's interval, root mean square and R² of metrics.csv."""
    from stages.report import report

    run = shaped_run(tmp_path, 2, 10, "regression")
    assert report.main(run.arguments()) == 0
    best = pd.read_csv(run.out / "metrics.csv").iloc[0]
    (row, _, trivial) = metrics_table(tmp_path)
    assert trivial["model"] == "trivial answer"
    names = ("mean_absolute_error_low", "mean_absolute_error_high", "root_mean_squared_error", "r2")
    shown = [float(row[name]) for name in ("error from", "error to", "root mean square", "R²")]
    assert shown == pytest.approx([best[name] for name in names], rel=1e-5)


@pytest.mark.farm
def test_table_without_values(finished: Run, tmp_path: Path) -> None:
    """The table has no empty columns; without a report, table and plots are empty."""
    rows = metrics_table(finished.root)
    assert "mean absolute error" not in rows[0] and float(rows[0]["test accuracy"]) > 0.5
    assert metrics_table(tmp_path) == [] and plots_as_markdown(tmp_path) == ""


def test_scores_are_masked_before_they_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is hidden in each part of a score; a text that looks like one only once it is escaped stays."""
    monkeypatch.setenv("GITHUB_TOKEN", "one*two*three")
    monkeypatch.setenv("OTHER_TOKEN", r"four\*five")
    rejected = tmp_path / "rejected.csv"
    rejected.write_text("name,reason\none*two*three.png,no image\na.png,one*two*three and four*five\n")
    lines = scores_markdown("1 file of one*two*three", tmp_path / "one*two*three", rejected).splitlines()
    assert "one" not in "".join(lines) and "three" not in "".join(lines)
    assert lines[0] == "1 file of ***." and lines[-1].endswith(r"and four\*five")
