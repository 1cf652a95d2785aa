"""`inkflow predict` and `score` answer "unsure" under the thresholds of a model."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from flows.cli.main import main
from stages.base.errors import exit_with
from stages.model.doubt import METADATA, UNLIKENESS, Doubt
from stages.predict import score
from tests.support.pictures import draw, encoded, npy, template, write_model, write_reader

LEVELS, PROBABILITY, UNLIKE = (0.9, 0.99, 1.0), (0.9, 0.5, 0.0), (60.0, 100.0, 255.0)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose model `doubter` gives the mean pixel as the unlikeness; brightest class of three bands."""
    monkeypatch.chdir(tmp_path)
    weights = np.zeros((28, 28, 3))
    for band in range(3):
        weights[9 * band : 9 * band + 9, :, band] = 1 / (9 * 28) / 20
    write_model(tmp_path / "models/doubter/model.onnx", weights.reshape(784, 3), np.zeros(3), ["a", "b", "c"])
    with_doubt(tmp_path / "models/doubter/model.onnx", Doubt(2.0, LEVELS, PROBABILITY, UNLIKE))
    np.save("sure.npy", bands(0, 90, 0)[None])
    np.save("low.npy", bands(20, 20, 30)[None])
    np.save("unlike.npy", bands(250, 50, 50)[None])
    np.save("both.npy", bands(130, 130, 131)[None])
    return tmp_path


def bands(*brightness: int) -> np.ndarray:
    """Returns an image of three bands of this brightness, with a dark corner: it is not blank."""
    image = np.zeros((28, 28), np.uint8)
    for band, value in enumerate(brightness):
        image[9 * band : 9 * band + 9] = value
    image[0, 0] = 255
    return image


def with_doubt(path: Path, doubt: Doubt) -> None:
    """Adds the mean pixel as the output `unlikeness` to a model, and `doubt` to its metadata."""
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("ReduceMean", ["flat"], [UNLIKENESS], axes=[1], keepdims=1))
    model.graph.output.append(helper.make_tensor_value_info(UNLIKENESS, TensorProto.FLOAT, ["batch", 1]))
    helper.set_model_props(model, {"class_names": json.dumps(["a", "b", "c"]), METADATA: doubt.to_json()})
    onnx.save(model, path)


def predict(*arguments: str) -> int:
    """Runs `inkflow predict` in this process and returns the exit code."""
    return exit_with(lambda: main(["predict", *arguments]))


FILES = ("sure.npy", "low.npy", "unlike.npy", "both.npy")
REASONS = ("", "low probability", "unlike the training images", "low probability and unlike the training images")


def test_text_says_unsure_and_why(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of unsure answers say so with the reason and what it may be; with `--anyway` they are as before."""
    assert predict("doubter", *FILES) == 0
    output, summary = capsys.readouterr()
    header, sure, *unsure = output.splitlines()
    assert header.split() == ["image", "answer", "probability", "(then", "the", "second)"]
    assert summary == "4 read, 3 unsure\n"
    assert sure.startswith("  sure.npy[0]    b  0.9")
    for line, name, reason in zip(unsure, FILES[1:], REASONS[1:], strict=True):
        assert line.startswith(f"? {name + '[0]':<13}  unsure: {reason}  (perhaps ")
    assert predict("doubter", "--anyway", *FILES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "unsure" not in "".join(lines)
    assert lines[3].startswith("  unlike.npy[0]  a  0.9999  (then ")


def test_json_has_unsure_on_every_line(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each object has `unsure`, an input that is refused before included, and `reason` and `unlikeness`."""
    Path("bad.png").write_bytes(b"no picture")
    assert predict("doubter", "--json", *FILES, "bad.png") == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["unsure"] for row in rows] == [False, True, True, True, True]
    assert [row["reason"] for row in rows[:4]] == list(REASONS)
    assert rows[2]["unlikeness"] == pytest.approx(np.load("unlike.npy").mean(), rel=1e-5)
    assert predict("doubter", "--json", "--anyway", *FILES) == 0
    assert [json.loads(line)["unsure"] for line in capsys.readouterr().out.splitlines()] == [False, True, True, True]


def test_an_infinite_unlikeness_is_a_number_in_json(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model whose unlikeness overflows gives the largest number: JSON has no infinity."""
    path = work / "models/doubter/model.onnx"
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "mean"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"))
    model.graph.node.append(helper.make_node("Div", ["mean", "zero"], [UNLIKENESS]))
    onnx.save(model, path)
    assert predict("doubter", "--json", "sure.npy") == 0
    row = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (row["unlikeness"], row["reason"]) == (float(np.finfo(np.float32).max), "unlike the training images")


def test_an_unlikeness_that_is_no_number_is_the_largest(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The difference of two infinite squares is NaN: such an image is unlike the training images."""
    path = work / "models/doubter/model.onnx"
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "mean"
    scale = numpy_helper.from_array(np.full((1, 1), 3e36, np.float32), "scale")  # 255 times as much is infinite
    model.graph.initializer.append(scale)
    for operation, inputs, output in (
        ("Mul", ["mean", "scale"], "square"),
        ("Sub", ["square", "square"], "zero"),
        ("Add", ["mean", "zero"], UNLIKENESS),
    ):
        model.graph.node.append(helper.make_node(operation, inputs, [output]))
    onnx.save(model, path)
    np.save("white.npy", bands(250, 90, 90)[None])
    assert predict("doubter", "--json", "white.npy", "sure.npy") == 0
    rows = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    assert (rows[0]["unlikeness"], rows[0]["reason"]) == (float(np.finfo(np.float32).max), "unlike the training images")
    assert rows[1]["unlikeness"] < 255


def test_all_shows_every_class(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` adds every class's probability, which sum to 1, to each form of output."""
    assert predict("doubter", "--all", "sure.npy") == 0
    assert "  [a: 0.0" in capsys.readouterr().out
    assert predict("doubter", "--all", "--json", "sure.npy") == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row["probabilities"]) == ["a", "b", "c"]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert row["probabilities"]["b"] == row["probability"]
    assert predict("doubter", "--all", "--csv", "sure.npy") == 0
    (line,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert float(line["p1"]) == pytest.approx(row["probability"])
    assert (line["unsure"], line["reason"]) == ("false", "")
    assert predict("doubter", "--all", "--parquet", "t.parquet", *FILES) == 0
    table = pq.read_table("t.parquet").to_pylist()
    assert [one["unsure"] for one in table] == [False, True, True, True]
    assert table[0]["p0"] + table[0]["p1"] + table[0]["p2"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("keep", "expected"), [("0.9", [True, True, True, True]), ("0.95", [False, True, True, True]), ("1", [False] * 4)]
)
def test_the_projects_share_decides(
    work: Path, capsys: pytest.CaptureFixture[str], keep: str, expected: list[bool]
) -> None:
    """`predict.keep` of the model's project holds at once, from any folder, without a training."""
    np.save("sure.npy", bands(0, 30, 0)[None])
    Path("params.yaml").write_text(f"predict: {{keep: {keep}}}\n")
    assert predict("doubter", "--json", *FILES) == 0
    assert [json.loads(line)["unsure"] for line in capsys.readouterr().out.splitlines()] == expected


def test_the_projects_share_decides_for_a_registered_model(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`predict.keep` of the project holds for a registered model too, whose files are deeper, also from a subfolder."""
    kept = work / ".inkflow/models/doubter@v0.1.0/model.onnx"
    kept.parent.mkdir(parents=True)
    (work / "models/doubter/model.onnx").rename(kept)
    Path("params.yaml").write_text("predict: {keep: 1}\n")
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    assert predict(str(kept.parent), "--json", *(f"../{name}" for name in FILES)) == 0
    assert [json.loads(line)["unsure"] for line in capsys.readouterr().out.splitlines()] == [False] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("predict: {keep: 1.5}", "predict.keep"),
        ("predict: {keep: no}", "predict.keep"),
        ("predict: {kep: 0.9}", "keep"),
        ("predict: 3", "predict"),
    ],
)
def test_a_wrong_share_is_refused(work: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    """A share outside of 0.5 to 1, or a mistyped key, is one sentence that names the key."""
    Path("params.yaml").write_text(text + "\n")
    assert predict("doubter", "sure.npy") == 2
    assert message in capsys.readouterr().err


def test_a_model_without_thresholds_answers_as_before(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An earlier model cannot say when it is unsure: `unsure` is null with a reason, and the text has no mark."""
    write_reader(work / "models/reader/model.onnx")
    Path("seven.png").write_bytes(encoded(draw(7), "PNG"))
    assert predict("reader", "seven.png") == 0
    assert "\n  seven.png  7  " in capsys.readouterr().out
    assert predict("reader", "--json", "seven.png") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["unsure"], row["unlikeness"], row["reason"]) == (None, None, "the model states no thresholds")
    assert predict("reader", "--csv", "seven.png") == 0
    (line,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert line["unsure"] == ""


def test_hostile_metadata_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thresholds that are no numbers, or an unlikeness that the model does not give, are one sentence."""
    path = work / "models/doubter/model.onnx"
    model = onnx.load(path)
    del model.graph.output[1]
    onnx.save(model, path)
    assert predict("doubter", "sure.npy") == 2
    assert "gives none as unlikeness" in capsys.readouterr().err
    helper.set_model_props(model, {METADATA: "[]"})
    onnx.save(model, path)
    assert predict("doubter", "sure.npy") == 2
    assert "has invalid metadata (inkflow.doubt is not an object of numbers)" in capsys.readouterr().err


def test_score_has_columns_for_doubt(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of `score` has `unsure`, `reason` and `unlikeness`; a table of earlier versions gets them empty."""
    Path("inbox").mkdir()
    Path("inbox/x.npy").write_bytes(npy(template(7)[None].astype("uint8")))
    write_reader(work / "models/reader/model.onnx")
    arguments = ["--folder=inbox", "--out=scores/s.parquet"]
    assert exit_with(lambda: score.main(["--model=reader", *arguments])) == 0
    old = pq.read_table("scores/s.parquet").drop_columns(["unsure", "reason", "unlikeness"])
    pq.write_table(old, "scores/s.parquet")
    Path("inbox/y.npy").write_bytes(Path("unlike.npy").read_bytes())
    capsys.readouterr()
    assert exit_with(lambda: score.main(["--model=doubter", *arguments])) == 0
    assert capsys.readouterr().out.strip().endswith("1 answer is unsure")
    rows = {(row["file"], row["label"]): row for row in pq.read_table("scores/s.parquet").to_pylist()}
    assert [row["unsure"] for row in rows.values()].count(True) == 1
    assert [row["unsure"] for row in rows.values()].count(None) == 1
    assert next(row for row in rows.values() if row["unsure"])["reason"] == "unlike the training images"
