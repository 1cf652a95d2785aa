"""What is known about a model: stand-ins say so in every form of output, and failed gates stop its use."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import helper

from flows.cli.main import main
from stages.base.errors import ModelError, exit_with
from stages.predict import score
from stages.predict.model_standing import file_sha256, open_model
from stages.samples.prepared import Prepared
from stages.train.export.model_files import dataset_metadata
from tests.support.pictures import npy, template, write_reader

SAYS = "was trained on a stand-in for mnist"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader` and a folder `inbox` with an image."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / "models/reader/model.onnx")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/x.npy").write_bytes(npy(template(7)[None].astype(np.uint8)))
    return tmp_path


def predict(*arguments: str, model: str = "reader") -> int:
    """Runs `inkflow predict` on the image, and returns the exit code."""
    return exit_with(lambda: main(["predict", model, "inbox", *arguments]))


def run_score(*arguments: str) -> int:
    """Runs the batch job, and returns the exit code."""
    return exit_with(lambda: score.main(["--model=reader", "--folder=inbox", "--out=s.parquet", *arguments]))


def mark_in_model(work: Path) -> None:
    """Writes the stand-in into the model's file."""
    path = work / "models/reader/model.onnx"
    model = onnx.load(path)
    helper.set_model_props(model, {"stand_in_for": json.dumps("mnist")})
    onnx.save(model, path)


def mark_in_project(work: Path) -> None:
    """Writes the stand-in into the description of the data set."""
    (work / "data/raw").mkdir(parents=True)
    (work / "data/raw/dataset.json").write_text(json.dumps({"name": "digits", "stand_in_for": "mnist"}))


@pytest.mark.parametrize("mark", [mark_in_model, mark_in_project])
def test_stand_in_says_so_in_every_form(work: Path, capsys: pytest.CaptureFixture[str], mark: object) -> None:
    """Text, JSON, CSV, Parquet and the batch job's table name the data set that the model only stands in for."""
    assert callable(mark)
    mark(work)
    assert predict() == 0
    output, errors = capsys.readouterr()
    assert output.endswith("[stand-in for mnist]\n") and SAYS in errors
    assert predict("--json") == 0
    assert json.loads(capsys.readouterr().out)["stand_in_for"] == "mnist"
    assert predict("--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["stand_in_for"] == "mnist"
    assert predict("--parquet", "x.parquet") == 0
    assert pq.read_table("x.parquet")["stand_in_for"].to_pylist() == ["mnist"]
    assert run_score() == 0
    assert SAYS in capsys.readouterr().err
    assert pq.read_table("s.parquet")["stand_in_for"].to_pylist() == ["mnist"]


def test_other_models_are_not_marked(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of a real data set has no mark, and no warning."""
    for form in ((), ("--json",), ("--csv",)):
        assert predict(*form) == 0
        output, errors = capsys.readouterr()
        assert "stand" not in output and errors == ""


def test_earlier_tables_are_continued(work: Path) -> None:
    """A table of the batch job from before the column `stand_in_for` keeps its rows and gets the column."""
    assert run_score() == 0
    pq.write_table(pq.read_table("s.parquet").drop_columns("stand_in_for"), "s.parquet")
    (work / "inbox/y.npy").write_bytes(npy(template(3)[None].astype(np.uint8)))
    assert run_score() == 0
    assert pq.read_table("s.parquet").schema == score.SCHEMA
    assert pq.read_table("s.parquet")["label"].to_pylist() == ["7", "3"]


def test_exported_models_carry_the_stand_in() -> None:
    """The data set that is stood in for is in the metadata of an export; other data sets add no entry."""
    facts = {"classes": 2, "raw_shape": (8, 8), "shape": (8, 8, 1), "crop": {}, "offset": 0.0, "scale": 255.0}
    assert dataset_metadata(Prepared.model_validate(facts | {"stand_in_for": "mnist"}))["stand_in_for"] == '"mnist"'
    assert "stand_in_for" not in dataset_metadata(Prepared.model_validate(facts))


def write_gates(work: Path, status: str, model: str = "reader", record: dict[str, object] | None = None) -> None:
    """Writes the record of a gate with this status."""
    check = {"model": model, "gate": "lower_bound", "status": status, "sentence": "0.91, at least 0.98"}
    (work / "reports").mkdir(exist_ok=True)
    (work / "reports/gates.json").write_text(json.dumps({"passed": False, "checks": [check]} | (record or {})))


def digest(path: str) -> str:
    """Returns the SHA-256 of a file."""
    return file_sha256(Path(path))


@pytest.mark.parametrize("recorded", [True, False], ids=["with digests", "older record"])
def test_model_whose_gate_failed_is_refused(work: Path, capsys: pytest.CaptureFixture[str], recorded: bool) -> None:
    """`predict` and the batch job refuse the model, by name and by path, and name the gate; `--anyway` uses it."""
    write_gates(work, "failed", record={"models": {"reader": digest("models/reader/model.onnx")}} if recorded else {})
    for model in ("reader", "models/reader/model.onnx", None):
        assert (predict(model=model) if model else run_score()) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert "failed its quality gate lower_bound: 0.91, at least 0.98; " in errors and "--anyway" in errors
    assert not Path("s.parquet").exists()
    for run_anyway in (predict, run_score):
        assert run_anyway("--anyway") == 0
        assert "warning: models/reader/model.onnx: failed its quality gate" in capsys.readouterr().err


def test_copy_of_a_refused_model_is_refused(work: Path) -> None:
    """A copy of the file in another place is the same model."""
    write_gates(work, "failed", record={"models": {"reader": digest("models/reader/model.onnx")}})
    shutil.copy("models/reader/model.onnx", "copy.onnx")
    assert predict(model="copy.onnx") == 2


def test_refused_model_while_it_is_trained_again(
    work: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier file of a model that is trained again is refused too, also from another folder."""
    write_gates(work, "failed", record={"models": {"reader": digest("models/reader/model.onnx")}})
    backup = work / ".inkflow/aside/train@reader/outputs/models"
    backup.mkdir(parents=True)
    shutil.move("models/reader", backup)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ModelError, match="failed its quality gate"):
        open_model(str(work / "models/reader/model.onnx"), anyway=False)


@pytest.mark.parametrize("content", [None, "passed", "other model", "other file", "[]", "{", '{"checks": [1]}'])
def test_other_records_stop_no_model(work: Path, content: str | None) -> None:
    """No record, a passed gate, another model, a model trained since, and a broken record do not stop the use."""
    if content == "passed":
        write_gates(work, "passed")
    elif content == "other model":
        write_gates(work, "failed", "dense")
    elif content == "other file":
        write_gates(work, "failed", record={"models": {"reader": "0" * 64}})
    elif content is not None:
        (work / "reports").mkdir()
        (work / "reports/gates.json").write_text(content)
    assert predict() == 0


@pytest.mark.parametrize(
    ("record", "refusal"),
    [
        ({"sha256": "other", "files": {"model.keras": "other", "model.onnx": "own"}}, ""),
        ({"sha256": "own"}, ""),
        ({"sha256": "own", "files": {"model.onnx": "other"}}, "is damaged: version.json records another file"),
        ({"sha256": "other"}, "is damaged: version.json records another file"),
        ({"sha256": "own", "files": 5}, "is damaged: version.json records another file"),
        ({"sha256": "own", "files": {"model.keras": "own"}}, "is no file of this version: version.json does not name"),
    ],
    ids=["beside the artifact", "earlier record", "damaged", "damaged, earlier record", "damaged record", "foreign"],
)
def test_the_record_of_a_version_is_looked_up_by_the_name_of_the_file(
    work: Path, capsys: pytest.CaptureFixture[str], record: dict[str, object], refusal: str
) -> None:
    """The file of a registered model counts as its version's by the digest of its own name; a record before had one."""
    kept = Path(".inkflow/models/reader@v0.1.0")
    kept.parent.mkdir(parents=True)
    Path("models/reader").rename(kept)
    text = json.dumps({"version": "v0.1.0", "commit": "c" * 40} | record)
    (kept / "version.json").write_text(text.replace("own", digest(f"{kept}/model.onnx")))
    assert predict("--json", model=str(kept)) == (2 if refusal else 0)
    output, errors = capsys.readouterr()
    assert refusal in errors and ("v0.1.0" in output) is not bool(refusal)
