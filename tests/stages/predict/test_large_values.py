"""Samples whose values are too large for a model's arithmetic are refused by themselves, and end no work on others."""

import json
from pathlib import Path

import httpx
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import numpy_helper

from flows.cli.main import main
from stages.base.errors import exit_with
from stages.predict import score
from tests.support.model_server import served_app
from tests.support.vectors import write_vector_model

REFUSED = "has values from 0 to 1e+20, for which the model gives no valid prediction"
ROWS = "1,2,3\n1e20,0,0\n4,5,6\n"


@pytest.fixture(params=[np.eye(3), np.ones((3, 1))], ids=["classes", "values"])
def work(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `large` of vectors: it multiplies by 1e20, and has classes or values."""
    monkeypatch.chdir(tmp_path)
    write_vector_model(tmp_path / "models/large/model.onnx", 1e20 * request.param)
    return tmp_path


@pytest.mark.usefixtures("work")
def test_predict_answers_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """The row is refused with its values, also where no other sample is in the file; all others are answered."""
    Path("a.csv").write_text(ROWS)
    Path("b.csv").write_text("0,0,1e20\n")
    assert exit_with(lambda: main(["predict", "large", "b.csv", "--json"])) == 2
    assert json.loads(capsys.readouterr().out)["error"] == REFUSED
    assert exit_with(lambda: main(["predict", "large", "a.csv", "b.csv", "--json"])) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["a.csv[0]", "a.csv[1]", "a.csv[2]", "b.csv[0]"]
    assert [(row["name"], row.get("error")) for row in rows] == list(zip(names, [None, REFUSED] * 2, strict=True))


@pytest.mark.usefixtures("work")
def test_score_goes_on_with_other_files() -> None:
    """A file of such samples alone is listed, and the other files are scored."""
    Path("inbox").mkdir()
    Path("inbox/a.csv").write_text("0,0,1e20\n")
    Path("inbox/b.csv").write_text("1,2,3\n")
    assert exit_with(lambda: score.main(["--model=large", "--folder=inbox", "--out=s.parquet"])) == 0
    assert pq.read_table("s.parquet")["file"].to_pylist() == ["b.csv"]
    assert Path("s.errors.csv").read_text() == f'name,reason\na.csv[0],"{REFUSED}"\n'


def test_a_server_refuses_the_request(work: Path) -> None:
    """The request gets the sentence, without advice to train the model again."""

    def ask(*values: float) -> httpx.Response:
        data = {"name": "image", "datatype": "FP32", "shape": [1, 3], "data": values}
        return client.post("/v2/models/large/infer", json={"inputs": [data]})

    with served_app(work, "large") as client:
        assert ask(1, 2, 3).status_code == 200
        answer = ask(0, 0, 1e20)
        assert (answer.status_code, answer.json()) == (400, {"error": f"a sample {REFUSED}"})


def test_a_broken_model_is_to_blame(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model without a valid answer for any sample ends the work, with advice to train it again."""
    path = work / "models/large/model.onnx"
    model = onnx.load(path)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(np.nan), "w"))
    onnx.save(model, path)
    Path("a.csv").write_text(ROWS)
    assert exit_with(lambda: main(["predict", "large", "a.csv"])) == 2
    assert "train the model again" in capsys.readouterr().err
