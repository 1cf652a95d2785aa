"""Flow runs are named after their work, on a real server; a name that a person has given stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.core.errors import Interrupted, StageFailed
from flows.engine.run import GATES, RUN_ITSELF, Run
from flows.engine.types import Outcome, Result
from flows.tasks.run_name import run_name, run_subject
from tests.conftest import Inkflow, Toy
from tests.flows.test_pipeline import LatestFlowRun
from tests.support.root import ROOT

# Runs in its own process: Prefect reads its settings when it is imported.
PROGRAM = """
import sys
from prefect import flow
from flows.tasks.run_name import name_run

@flow(name="named", flow_run_name=sys.argv[1] or None)
def named() -> None:
    for text in sys.argv[2:]:
        name_run(*text.split(": "))

named()
"""


@pytest.mark.cases(1)
@pytest.mark.server
@pytest.mark.parametrize(
    ("given", "texts", "name"),
    [
        ("", ["mnist: 9 stages", "mnist: 9 unchanged"], "mnist: 9 unchanged"),
        ("", ["mnist: 9 stages", "digits: 9 stages", "digits: 9 ran"], "digits: 9 ran"),
        ("before the release", ["mnist: 9 stages", "mnist: 9 ran"], "before the release"),
        ("big-retrain", ["mnist: 9 stages", "mnist: 9 ran"], "big-retrain"),
        ("sassy-otter", ["mnist: 9 stages", "mnist: 9 ran"], "mnist: 9 ran"),
    ],
    ids=["random words", "fallback", "by a person", "two words of a person", "two words of Prefect"],
)
def test_names_on_the_server(
    given: str, texts: list[str], name: str, prefect_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's random words are replaced at the start and at the end; a person's name stays."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    subprocess.run([sys.executable, "-c", PROGRAM, given, *texts], cwd=ROOT, check=True, capture_output=True)
    assert LatestFlowRun(prefect_url).flow_run["name"] == name


@pytest.mark.farm
@pytest.mark.server
def test_a_run_is_named_by_its_counts(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A run in a project without our schema has the folder's name, its targets, and what became of its stages."""
    assert inkflow("run", "side@left", folder=diamond.folder).returncode == 0
    assert LatestFlowRun(prefect_url).flow_run["name"] == f"{diamond.folder.name}, side@left: 2 ran"
    assert inkflow("run", folder=diamond.folder).returncode == 0
    assert LatestFlowRun(prefect_url).flow_run["name"] == f"{diamond.folder.name}: 2 ran, 2 unchanged"


def test_counts() -> None:
    """The counts name each outcome that occurred, failures, interruptions, and failed gates; the summary agrees."""
    run = Run()
    assert run.counts == "no stage"
    run.results = [Result(str(number), outcome) for number, outcome in enumerate([*Outcome, Outcome.RAN])]
    assert run.counts == "2 ran, 1 restored, 1 recorded, 1 unchanged"
    run.errors = {"a": StageFailed("a", 1, []), "b": Interrupted("b"), RUN_ITSELF: Interrupted("the run")}
    run.errors |= {GATES: StageFailed("gates", 1, [])}
    run.not_run = {"c": "a failed"}
    assert run.counts.endswith("1 unchanged, 1 failed, 1 interrupted, 1 not run, gates failed")
    assert run.summary.endswith("1 recorded, 1 failed: a, 1 interrupted: b, 1 not run")


def test_subject() -> None:
    """Many targets are shortened; a run in a clone has the name of the project, not that of the clone."""
    assert run_subject(Run(["a", "b", "c", "d", "e"])) == f"{Path.cwd().name}, a, b, c, 2 more"
    assert run_subject(Run(sharing=Path("/projects/digits/.inkflow/sharing"))) == "digits"


def test_a_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of data sets and stages make no further line and show no secret."""
    monkeypatch.setenv("STORE_PASSWORD", "swordfish")
    assert run_name("a\nb", "1 stage of swordfish\x1b[2J") == "a b: 1 stage of ***"
