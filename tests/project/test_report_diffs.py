"""`dvc metrics diff` and `dvc plots diff` between two commits of the whole project on small data."""

import json
import subprocess
from typing import Any

import pytest

from tests.conftest import SMALL_MODELS, Project, run_engine
from tests.support import commands

pytestmark = pytest.mark.slow


def commit(message: str) -> None:
    """Commits all files in the current folder."""
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message], check=True)


def dvc(*arguments: str) -> Any:
    """Returns the JSON output of a `dvc` command in the current folder."""
    return json.loads(commands.dvc(*arguments, "--json"))


def points(plots: Any, column: str) -> list[tuple[str, float]]:
    """Returns the commit and the value of each point of the only plot."""
    (plot,) = plots
    return [(row["rev"], float(row[column])) for row in plot["content"]["data"]["values"]]


@pytest.mark.farm
def test_two_commits_are_compared(project: Project) -> None:
    """After a change of a parameter, both commands show the metrics and plots of both commits."""
    project.set({"models": {"dense": SMALL_MODELS["dense"]}})
    run_engine()
    commit("two epochs")
    before = json.loads(project.read("reports/models.json"))["dense"]
    project.set({"models.dense.epochs": 3})
    run_engine()
    commit("three epochs")
    after = json.loads(project.read("reports/models.json"))["dense"]
    metrics = dvc("metrics", "diff", "HEAD~1", "HEAD")
    accuracy = metrics["reports/metrics.json"]["test_accuracy"]
    assert (accuracy["old"], accuracy["new"]) == (before["test_accuracy"], after["test_accuracy"])
    targets = ["--targets", "reports/models.json", "evaluation/dense/metrics.json"]
    metrics = dvc("metrics", "diff", "HEAD~1", "HEAD", *targets)
    loss = metrics["reports/models.json"]["dense.test_loss"]
    assert (loss["old"], loss["new"]) == (before["test_loss"], after["test_loss"])
    assert "loss" in metrics["evaluation/dense/metrics.json"]
    plots = dvc("plots", "diff", "HEAD~1", "HEAD")["data"]
    epochs = [("HEAD~1", 1), ("HEAD~1", 2), ("HEAD", 1), ("HEAD", 2), ("HEAD", 3)]
    assert points(plots["models/dense/history.csv"], "epoch") == epochs
    accuracies = [("HEAD~1", before["test_accuracy"]), ("HEAD", after["test_accuracy"])]
    assert points(plots["reports/plots/scores.csv"], "score") == accuracies
    assert [plot["revisions"] for plot in plots["reports/plots/scores.png"]] == [["HEAD~1"], ["HEAD"]]
