"""Regressions answer with their value wherever classifiers answer with a class: predict, score, serve."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from flows.cli.main import main
from stages.base.errors import exit_with
from stages.model.tasks import METADATA, Task
from stages.predict import score
from tests.support.model_server import served_app
from tests.support.pictures import SIZE, draw, encoded
from tests.support.tiny_data import expect_error


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the regression `mean`, whose value is the mean of the pixels, and two pictures."""
    monkeypatch.chdir(tmp_path)
    write_regression(tmp_path / "models/mean/model.onnx", outputs=1)
    for name in ("a.png", "b.png"):
        (tmp_path / "box").mkdir(exist_ok=True)
        (tmp_path / "box" / name).write_bytes(encoded(draw(7), "PNG"))
    return tmp_path


def write_regression(path: Path, outputs: int) -> None:
    """Writes an ONNX model of a regression with a number of outputs."""
    path.parent.mkdir(parents=True)
    weights, kind = np.full((SIZE * SIZE, outputs), 1 / SIZE**2, np.float32), TensorProto.FLOAT
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["values"])]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", kind, ["batch", SIZE, SIZE])],
        [helper.make_tensor_value_info("values", kind, ["batch", outputs])],
        [helper.make_tensor("weights", kind, weights.shape, weights.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    helper.set_model_props(model, {METADATA: Task("regression").to_json()})
    onnx.save(model, path)


def predict(*arguments: str) -> int:
    """Runs `inkflow predict` in this process and returns the exit code."""
    return exit_with(lambda: main(["predict", *arguments]))


def test_every_form_has_the_value(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON, CSV and Parquet have a value for each image, no class, and the doubt that nobody measured."""
    assert predict("mean", "--json", "box") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == ["box/a.png", "box/b.png"]
    assert all(0 < row["value"] < 255 and row["unsure"] is None for row in rows)
    assert set(rows[0]) == {"name", "value", "unsure", "reason", "unlikeness"}
    assert predict("mean", "--csv", "box") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["value"]) for row in table] == [row["value"] for row in rows]
    assert predict("mean", "--parquet", "out.parquet", "box") == 0
    assert pq.read_table("out.parquet")["value"].to_pylist() == [pytest.approx(row["value"]) for row in rows]
    capsys.readouterr()
    assert predict("mean", "box") == 0
    output, errors = capsys.readouterr()
    header, first, _ = output.splitlines()
    assert header.split() == ["image", "value"] and first.split() == ["box/a.png", f"{rows[0]['value']:.6g}"]
    assert errors == "2 read\n"


def test_classes_are_not_invented(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` asks for classes that a regression lacks; two outputs are no regression."""
    code, sentence = expect_error(main, ["predict", "mean", "--all", "box"], capsys)
    assert code == 2 and "is a regression, which has no classes" in sentence
    write_regression(work / "models/two/model.onnx", outputs=2)
    code, sentence = expect_error(main, ["predict", "two", "box"], capsys)
    assert code == 2 and "(batch, 1) of a regression" in sentence


def test_score_adds_values(work: Path) -> None:
    """The table of `score` has the values, and no labels."""
    counts = score.score("mean", Path("box"), Path("scores.parquet"))
    assert counts.scored == 2
    table = pq.read_table("scores.parquet").to_pylist()
    assert all(row["label"] is None and 0 < row["value"] < 255 for row in table)
    assert score.score("mean", Path("box"), Path("scores.parquet")).known == 2


def test_server_answers_values(work: Path) -> None:
    """`inkflow serve` answers with the value, also in the inference protocol, whose metadata name it."""
    picture = (work / "box/a.png").read_bytes()
    with served_app(work, "mean") as client:
        answer = client.post("/predict", content=picture).json()
        assert 0 < answer["value"] < 255 and not {"label", "probabilities"} & answer.keys()
        metadata = client.get("/v2/models/mean").json()
        assert [output["name"] for output in metadata["outputs"]] == ["values", "unsure"]
        tensor = {"name": "image", "shape": [1, SIZE, SIZE], "datatype": "FP32", "data": [0.0, 102.0] * (SIZE**2 // 2)}
        result = client.post("/v2/models/mean/infer", json={"inputs": [tensor]}).json()
        assert result["outputs"][0]["data"] == [pytest.approx(51.0, rel=1e-4)]
        assert "value" not in client.get("/metrics").text.partition("inkflow_predictions_total{")[2].partition("}")[0]
