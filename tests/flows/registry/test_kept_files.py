"""The files of registered models in `.inkflow/models`: which of them are recorded, used, and removed when old."""

import json
import os
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.registry.model_files import fetch_model
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import succeeded
from tests.flows.registry.conftest import commit
from tests.support.pictures import draw, encoded
from tests.support.registered_reader import MODEL, PIPELINE, git, reader

__all__ = ["reader"]  # the fixture

KERAS = "models/reader/model.keras"
WITH_KERAS = PIPELINE.replace(f"in.onnx {MODEL},", f"in.onnx {MODEL} && echo keras > {KERAS},").replace(
    f"[{MODEL}]", f"[{MODEL}, {KERAS}]"
)


def test_prune_removes_what_was_fetched_alone(models: Toy) -> None:
    """Exports beside a version without a stage stay, however old: nothing would bring them back. All else goes."""
    assert inkflow(["promote", "net", "prod"]) == 0
    folder = fetch_model(Path(), "net@prod").path.parent
    assert {path.name for path in folder.iterdir()} == {"model.bin", "version.json"}
    commit("two")
    assert inkflow(["promote", "net", "prod"]) == 0
    exports = {folder / "model.tflite", folder / "saved_model/saved_model.pb", folder / "model.bin.txt"}
    for path in (*exports, folder / ".fetched/model.bin", folder / ".version-99999999.tmp.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    assert inkflow(["prune", "--older-than", "30d", "--also-for", "."]) == 0
    assert {path for path in folder.rglob("*") if path.is_file()} == exports
    assert fetch_model(Path(), "net@v0.0.1").path.read_text() == "one"


def test_a_version_of_another_file_predicts_with_the_onnx_model_beside_it(
    reader: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of a version has the digest of each of its files, whichever of them is the artifact."""
    Path("dvc.yaml").write_text(f"{WITH_KERAS}  keras: {{path: {KERAS}, type: model}}\n")
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", "keras")
    (tmp_path / "seven.png").write_bytes(encoded(draw(7), "PNG"))
    assert inkflow(["promote", "keras", "prod"]) == 0
    capsys.readouterr()
    for model in ("keras@prod", ".inkflow/models/keras@v0.0.1"):
        assert inkflow(["predict", model, str(tmp_path / "seven.png"), "--json"]) == 0
        [answer] = map(json.loads, capsys.readouterr().out.splitlines())
        assert (answer["label"], answer["model_version"]) == ("one 7", "v0.0.1")
    record = json.loads(Path(".inkflow/models/keras@v0.0.1/version.json").read_text())
    assert set(record["files"]) == {"model.keras", "model.onnx"}
    assert record["sha256"] == record["files"]["model.keras"]
