"""`predict` refuses a damaged model, and warns of other files that dvc.lock records with another content."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from flows.cli.main import main
from stages.base import timings
from stages.base.digests import file_md5
from stages.base.errors import ModelError, exit_with
from stages.predict.classifier import open_classifier
from tests.support.pictures import npy, template, write_reader

OPSET = helper.make_opsetid("", 15)
FILES = ("models/reader/model.onnx", "models/reader/training.json", "reports/gates.json")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and a record of gates as dvc.lock records them."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / FILES[0])
    (tmp_path / "x.npy").write_bytes(npy(template(7)[None].astype(np.uint8)))
    (tmp_path / "reports").mkdir()
    for path in FILES[1:]:
        (tmp_path / path).write_text("{}")
    outputs = [f"    - path: {path}\n      hash: md5\n      md5: {file_md5(tmp_path / path)}\n" for path in FILES]
    train, report = "".join(outputs[:2]), outputs[2]
    (tmp_path / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  train@reader:\n    outs:\n{train}  report:\n    outs:\n{report}"
    )
    assert predict() == 0
    return tmp_path


def predict(*options: str) -> int:
    """Runs `inkflow predict` on an image, and returns the exit code."""
    return exit_with(lambda: main(["predict", "reader", "x.npy", *options]))


def test_a_damaged_model_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file and how to go on; `--anyway` uses it with a warning."""
    write_reader(work / FILES[0], [f"digit {number}" for number in range(10)])
    capsys.readouterr()
    assert predict() == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: models/reader/model.onnx is not the file that dvc.lock records: ")
    assert all(word in errors for word in ("`dvc checkout`", "`inkflow run`", "`dvc commit` keeps", "--anyway"))
    assert predict("--anyway") == 0
    assert "warning: models/reader/model.onnx is not" in capsys.readouterr().err


def test_no_export_has_the_digest_of_a_damaged_model(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow export` names the ONNX file; it has no option to go on."""
    (work / "models/reader/model.keras").write_bytes(b"")
    write_reader(work / FILES[0], [f"digit {number}" for number in range(10)])
    assert exit_with(lambda: main(["export", "reader", "--format", "litert"])) == 2
    errors = capsys.readouterr().err
    assert "error: models/reader/model.onnx is not the file that dvc.lock records: " in errors
    assert "`inkflow run`" in errors and "--anyway" not in errors


def test_an_axis_whose_name_is_no_text(tmp_path: Path) -> None:
    """It is named; ONNX Runtime itself opens such a model."""
    path = tmp_path / "model.onnx"
    value = helper.make_tensor_value_info
    ports = [value(name, TensorProto.FLOAT, ["rows", *shape]) for name, shape in (("x", (2, 5)), ("y", (10,)))]
    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:]), opset_imports=[OPSET])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    assert open_classifier(path).shape == (2, 5)
    path.write_bytes(path.read_bytes().replace(b"rows", b"\x80ows"))
    with pytest.raises(ModelError, match=r"model\.onnx: is damaged: the name of an axis is no text"):
        open_classifier(path)


def test_a_model_trained_by_hand_is_used(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record of its training has it; no warning is printed."""
    write_reader(work / FILES[0], [f"digit {number}" for number in range(10)])
    timings.record("train", "reader", Path(FILES[0]), {"fit_s": 1.0})
    capsys.readouterr()
    assert predict() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", FILES[1:])
def test_other_changed_files_give_a_warning(work: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """A report that was run by hand stops no model."""
    (work / path).write_text('{"checks": []}')
    capsys.readouterr()
    assert predict() == 0
    errors = capsys.readouterr().err
    assert errors.startswith(f"warning: {path} is not the file") and "`dvc checkout`" in errors
