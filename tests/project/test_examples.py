"""The programs in examples/, run as the pages show them, and the door for Python programs that they use."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.dvc_repo.repository import Repository
from inkflow import engine
from inkflow.engine import Event, InkflowError, InvalidInput, Kind, Outcome, Project, UnknownStage, Verdict
from stages.download.digits import load_digits
from tests.conftest import Project as Copy
from tests.conftest import Toy
from tests.support.root import ROOT

EXAMPLES = ROOT / "examples"


def run(example: str, *arguments: str | Path, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs an example in `folder`, where Inkflow is installed, and checks its exit code."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / example, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.farm
def test_use_engine(diamond: Toy, tmp_path: Path) -> None:
    """The example plans and runs any DVC project, from another folder; a second call finds nothing to do."""
    first = run("use_engine.py", diamond.folder, folder=tmp_path).stdout
    assert "source: run, because" in first and "4 of 4 stages ran" in first
    assert diamond.read("joined") == "one\none\n"
    second = run("use_engine.py", diamond.folder, folder=tmp_path).stdout
    assert "because" not in second and "0 of 4 stages ran" in second
    refused = run("use_engine.py", diamond.folder, "side@lef", folder=tmp_path, code=1)
    assert "error: " in refused.stderr and "side@left" in refused.stderr


@pytest.mark.slow
@pytest.mark.farm
def test_train_by_parameters_and_classify(project: Copy, tmp_path: Path) -> None:
    """One example trains two values and keeps the better one; another classifies with its exported model alone."""
    first = run("train_by_parameters.py", "dense", "epochs", "1", "3", folder=project.folder).stdout
    assert "kept epochs 3" in first
    second = run("train_by_parameters.py", "dense", "epochs", "1", "3", folder=project.folder).stdout
    assert [line.split(" (")[0] for line in second.splitlines()] == [line.split(" (")[0] for line in first.splitlines()]
    assert " 0 of " in second.replace("(", " ") and "1 of" not in second
    x, y, *_ = load_digits()
    np.save(tmp_path / "images.npy", x[:10])
    model = project.folder / "models" / "dense" / "model.onnx"
    answers = run("classify.py", model, tmp_path / "images.npy", folder=tmp_path).stdout.splitlines()
    given = [line.split(": ")[1][0] for line in answers]
    assert len(given) == 10 and sum(answer == str(label) for answer, label in zip(given, y, strict=False)) >= 8
    np.savez(tmp_path / "flat.npz", images=x[:10].reshape(10, -1))
    wrong = run("classify.py", model, tmp_path / "flat.npz", "images", folder=tmp_path, code=1)
    assert "expected (n, 28, 28)" in wrong.stderr
    assert (
        "one of its arrays: images" in run("classify.py", model, tmp_path / "flat.npz", folder=tmp_path, code=1).stderr
    )
    assert "no such file" in run("classify.py", "none.onnx", tmp_path / "images.npy", folder=tmp_path, code=1).stderr


def test_classify_needs_no_inkflow() -> None:
    """The example for exported models imports NumPy and ONNX Runtime, and nothing of this project."""
    tree = ast.parse((EXAMPLES / "classify.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_a_run_passes_its_events(diamond: Toy) -> None:
    """Each stage has a start and a result, in the order in which they happened; the working directory is as before."""
    events: list[Event] = []
    before = Path.cwd()
    done = Project(diamond.folder / ".dvc").run("join", on_event=events.append, jobs=1)
    assert [event.stage for event in events if event.kind is Kind.RESULT] == list(done.ran)
    kinds = [event.kind for event in events if event.stage == "source"]
    assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == (Kind.STARTED, {Kind.LINE}, Kind.RESULT)
    assert {event.result.outcome for event in events if event.result} == {Outcome.RAN}
    assert Path.cwd() == before


def test_settings_edit_the_parameters(diamond: Toy) -> None:
    """Settings run what depends on them; a run that is refused leaves params.yaml as it was."""
    project = Project(diamond.folder)
    project.run()
    changed = project.run(settings={"knobs.speed": 2})
    assert changed.ran == ["source"]
    text = diamond.read("params.yaml")
    with pytest.raises(UnknownStage, match="joint"):
        project.run("joint", settings={"knobs.speed": 3})
    with pytest.raises(InvalidInput, match="jobs: got 0"):
        project.run(jobs=0)
    assert diamond.read("params.yaml") == text


def test_the_plan_is_that_of_the_command(diamond: Toy) -> None:
    """Before a run every stage is to run; after it none; after a change those that depend on it."""
    project = Project(diamond.folder)
    assert next(decision.verdict for decision in project.plan()) is Verdict.RUN
    project.run()
    assert {decision.verdict for decision in project.plan()} == {Verdict.UNCHANGED}
    diamond.write({"in": "two\n"})
    decisions = {decision.stage: decision for decision in project.plan("side@left")}
    assert set(decisions) == {"source", "side@left"} and decisions["source"].reasons == ("in changed",)


def test_failures_are_raised_or_returned(diamond: Toy) -> None:
    """A failed stage is raised, or with `check=False` in the run beside the stages that did not run."""
    diamond.write(
        {"dvc.yaml": "stages:\n  a: {cmd: 'echo no; exit 3', outs: [a]}\n  b: {cmd: cp a b, deps: [a], outs: [b]}\n"}
    )
    project = Project(diamond.folder)
    with pytest.raises(InkflowError, match="exit code 3"):
        project.run()
    failed = project.run(check=False)
    assert list(failed.errors) == ["a"] and list(failed.not_run) == ["b"] and failed.summary.endswith("1 not run")


@pytest.mark.farm
def test_an_event_has_the_cause_of_a_stage_that_does_not_run(diamond: Toy, tmp_path: Path) -> None:
    """The text of the event is the cause alone, as in the result, and the example says it once."""
    diamond.write({"dvc.yaml": diamond.read("dvc.yaml").replace("cp in out", "exit 3")})
    events: list[Event] = []
    done = Project(diamond.folder).run(on_event=events.append, check=False)
    causes = {event.stage: event.text for event in events if event.kind is Kind.NOT_RUN}
    assert causes == done.not_run and causes["join"] == "source failed"
    lines = run("use_engine.py", diamond.folder, folder=tmp_path, code=1).stdout.splitlines()
    assert [line.split() for line in lines if "join" in line][-1] == ["not", "run", "join", "source", "failed"]


def test_an_exception_of_the_callback_is_raised_at_the_end(diamond: Toy) -> None:
    """A callback that fails stops no stage: its exception comes when the results are recorded."""

    def fail(event: Event) -> None:
        raise LookupError(event.stage)

    with pytest.raises(LookupError):
        Project(diamond.folder).run(on_event=fail)
    with Repository(diamond.folder) as repository:
        assert not any(facts.changes for facts in repository.facts())


def test_a_folder_in_no_project_is_refused(tmp_path: Path) -> None:
    """A folder that does not exist, or is in no DVC project, is named."""
    with pytest.raises(InvalidInput, match="is no folder"):
        Project(tmp_path / "none")
    with pytest.raises(InvalidInput, match="is in no DVC project"):
        Project(tmp_path)


def test_metrics_are_read(diamond: Toy) -> None:
    """The metrics files of the graph come by path."""
    diamond.write({"dvc.yaml": "stages:\n  m: {cmd: cp in m.json, deps: [in], metrics: [m.json: {cache: false}]}\n"})
    diamond.write({"in": json.dumps({"score": 1})})
    project = Project(diamond.folder)
    project.run()
    assert project.metrics() == {"m.json": {"score": 1}}


def test_the_names_of_the_door() -> None:
    """What `__all__` names exists, and has a docstring for the reference."""
    assert sorted(engine.__all__) == engine.__all__
    assert [name for name in engine.__all__ if not getattr(engine, name).__doc__] == []
