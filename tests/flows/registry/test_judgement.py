"""A model is compared with the version that holds its stage on the same test images, also after these have changed."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from flows.cli.main import main as inkflow
from flows.dvc_repo.versions.artifacts import Artifact
from flows.registry.judgement import Judgement, judge
from flows.registry.tags import ModelVersion
from stages.data.datasets import Arrays, describe, write_dataset
from stages.evaluate.evaluate import evaluate
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import succeeded
from tests.flows.registry.conftest import error, git
from tests.support.pictures import write_model
from tests.support.report_data import Run, preparation
from tests.support.report_shapes import shaped_run

NAME = "model_00"  # of the only model
MODEL = f"models/{NAME}/model.onnx"
PIPELINE = f"""
stages:
  train: {{cmd: cp in.onnx {MODEL}, deps: [in.onnx], outs: [{MODEL}]}}
artifacts:
  net: {{path: {MODEL}, type: model}}
"""


def version(run: Run, seed: int, read: int = 10) -> str:
    """Writes and commits a version of the project: images with a bright row for their class, of which every tenth has
    another label, and a model that knows the first `read` classes; returns the commit.
    """
    random = np.random.default_rng(seed)
    parts = []
    for number in (60, 400):
        labels = np.arange(number) % 10
        images = random.integers(0, 20, (number, 28, 28), dtype=np.uint8)
        images[np.arange(number), labels] = 255
        labels[::10] = random.integers(0, 10, len(labels[::10]))
        parts += [images, labels.astype(np.uint8)]
    arrays, raw = Arrays(*parts), run.root / "data/raw"
    write_dataset(raw, arrays, describe("digits", run.params.dataset_params, arrays))
    run.edit("data/raw/dataset.json", stand_in_for=None)
    prepared = preparation("digits", arrays, 54, 6)
    (run.root / "data/prepared/prepared.json").write_text(json.dumps(prepared))
    weights = np.kron(np.eye(28)[:, :10], np.ones((28, 1))) / 255
    weights[:, read:] = -1
    write_model(run.root / MODEL, weights, np.zeros(10))
    evaluate(run.root / MODEL, raw, run.root / "evaluation" / NAME)
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t.example", "commit", "-qm", "v"], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def judged(holder: str) -> Judgement:
    """Judges the model in the workspace against the version of a commit, which holds a stage."""
    accepted = ModelVersion(NAME, "v0.0.1", holder, datetime.now(UTC), "t", {}, ("prod",))
    return judge(Path(), Artifact(NAME, MODEL, "", "", {}), accepted)


@pytest.fixture
def run(toy: Toy) -> Run:
    """A project with one model, without a version."""
    return shaped_run(toy.folder, 1, 10)


@pytest.mark.farm
def test_new_test_images(run: Run) -> None:
    """The version before is evaluated on the new images, and on these alone: a model that is as good may follow it, a
    worse one may not.
    """
    first = version(run, seed=0)
    assert judged(first).facts["Compared"].endswith(")")
    version(run, seed=1)
    good = judged(first)
    assert good.problems == ()
    assert good.facts["Compared"].startswith("not shown to be worse than v0.0.1 (")
    note = "the test images changed too: the models before were evaluated on the new ones"
    assert good.facts["Compared"].endswith(f"); {note}")
    version(run, seed=2, read=5)
    assert any(problem.startswith("worse than v0.0.1 (") for problem in judged(first).problems)


def cached_version(run: Run, seed: int, read: int) -> Path:
    """Commits a version as `version` does, whose model is an output of DVC; returns the model's object in the cache."""
    version(run, seed, read)
    shutil.copy(MODEL, "in.onnx")
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", "trained")
    digest = subprocess.run(["md5sum", MODEL], check=True, capture_output=True, text=True).stdout.split()[0]
    return Path(".dvc/cache/files/md5", digest[:2], digest[2:])


@pytest.mark.farm
def test_lost_files_of_the_version_before(run: Run, toy: Toy) -> None:
    """If the files of the version in the stage are lost, a promotion is refused with a sentence about it.

    With --force it is made, and its tag records the reason and that nothing was compared.
    """
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": f"/.inkflow\n/{MODEL}\n"})
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    first = cached_version(run, seed=0, read=5)
    assert inkflow(["promote", "net", "prod"]) == 0
    cached_version(run, seed=0, read=10)
    first.unlink()
    message = error("promote", "net", "prod")
    assert "net is not promoted to prod: v0.0.1 cannot be compared: " in message
    assert f"{MODEL} is neither in git, the cache nor a remote" in message
    assert inkflow(["promote", "net", "prod", "--force", "a broken disk"]) == 0
    for tag in ("net@v0.0.2", "net#prod#2"):
        recorded = git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")
        assert "Compared: v0.0.1 cannot be compared: " in recorded and "Forced: a broken disk" in recorded
