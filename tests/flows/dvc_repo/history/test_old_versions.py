"""Facts about versions in an older form, with entries of removed stages, or with messages in another encoding."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.support.many_versions import ManyVersions, Point, first_point
from flows.cli.main import main as inkflow
from flows.dvc_repo.history.facts import read_facts
from tests.conftest import Toy

FIRST = first_point()
OLD_FORM = b"""stages:
  train:
    foreach: ${models}
    do:
      cmd: train ${key}
      outs: [models/${key}/model.onnx, models/${key}/training.json]
      metrics: [models/${key}/validation.json]
  evaluate:
    foreach: ${models}
    do:
      cmd: evaluate ${key}
      metrics: [evaluation/${key}/metrics.json: {cache: false}]
"""


def test_scores_are_metrics_or_outputs(tmp_path: Path) -> None:
    """The scores of models are read where dvc.yaml names them as metrics, as it once did, and where as outputs."""
    project = ManyVersions(tmp_path, samples=50)
    one = project.commit(Point(FIRST.models, extra={"dvc.yaml": OLD_FORM}), "metrics")
    project.commit(FIRST.with_model("cnn", epochs=9), "outputs", parents=(one,))
    project.finish()
    facts = read_facts(tmp_path)
    assert [item["title"] for item in facts["versions"]] == ["metrics", "outputs"]
    for models in (item["models"] for item in facts["versions"]):
        assert set(models) == set(FIRST.models) and all({"validation", "test"} <= set(m) for m in models.values())


def test_removed_models_do_not_count(tmp_path: Path) -> None:
    """dvc.lock keeps the entries of models that params.yaml no longer has: they have no scores and no stages."""
    project = ManyVersions(tmp_path, samples=50)
    one = project.commit(FIRST, "first")
    kept = {name: file for name, file in project._files(FIRST).items() if name.startswith(("dvc.lock", "evaluation/"))}
    models = {name: model for name, model in FIRST.models.items() if name != "cnn"}
    project.commit(Point(models, extra={**kept}), "without cnn", parents=(one,))
    project.finish()
    first, second = read_facts(tmp_path)["versions"]
    assert set(first["models"]) == {"dense", "dense_dropout", "cnn"}
    assert set(second["models"]) == {"dense", "dense_dropout"} and second["models"]["dense"] == first["models"]["dense"]
    names = {stage["name"] for stage in second["stages"]}
    assert "train@dense" in names and not any("cnn" in name for name in names)


@pytest.mark.farm
def test_messages_that_are_not_utf8(toy: Toy) -> None:
    """A message and a tag in another encoding are readable but for these letters, and the page is written."""
    toy.write({"params.yaml": "depth: 3\n"})

    def git(*arguments: str | bytes, stdin: bytes | None = None) -> bytes:
        return subprocess.run(
            ["git", *arguments], cwd=toy.folder, input=stdin, capture_output=True, check=True
        ).stdout.strip()

    git("add", "-A")
    git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "menu")
    cafe = "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1")
    made = git("cat-file", "commit", "HEAD").replace(b"menu", cafe) + b"\n"  # git itself would write UTF-8
    git("reset", "--hard", git("hash-object", "-t", "commit", "-w", "--stdin", stdin=made))
    git("tag", cafe)
    assert inkflow(["report", "--runs"]) == 0
    found = read_facts(toy.folder)["versions"][-1]
    assert found["title"] == "caf?" and {"kind": "tag", "name": "caf?"} in found["refs"]
    assert "caf?" in (toy.folder / ".inkflow/report/runs.html").read_text(encoding="utf-8")
