"""`inkflow predict` from the command line: all input and output formats, 387 invalid files."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.cli.main import main
from stages.base.errors import exit_with
from stages.predict.image_files import escape_unprintable
from tests.support.pictures import draw, encoded, garbage, npy, npz, scan, template, write_model, write_reader

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader`."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


def predict(*arguments: str) -> int:
    """Runs `inkflow predict` in this process and returns the exit code."""
    return exit_with(lambda: main(["predict", *arguments]))


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """Returns the objects that `--json` printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.cases(1)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_scans_are_recognised(work: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Photographs of all ten digits, dark on light and light on dark, are classified correctly in every format."""
    for digit in range(10):
        for dark in (True, False):
            (work / f"{digit}{dark}").write_bytes(encoded(scan(digit, 20 + digit, dark_on_light=dark), form))
    names = sorted(path.name for path in work.iterdir() if path.is_file())
    assert predict("reader", "--json", *names) == 0
    assert [(row["name"], row["label"]) for row in rows(capsys)] == [(name, name[0]) for name in names]


def test_parquet_overwrites_no_picture(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--parquet` without its PATH, which takes the first picture for it, is refused; the picture stays."""
    for name in ("one.png", "two.png"):
        (work / name).write_bytes(encoded(draw(1), "PNG"))
    before = (work / "one.png").read_bytes()
    assert predict("reader", "--parquet", "one.png", "two.png") == 2
    assert "one.png: is not a Parquet file, and would be overwritten" in capsys.readouterr().err
    assert (work / "one.png").read_bytes() == before


def test_text_names_the_runner_up(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below a header, a line has the name, the label, its probability, the second label and its probability."""
    (work / "seven.png").write_bytes(encoded(draw(7), "PNG"))
    write_model(work / "three.onnx", np.zeros((784, 3)), np.log([0.1, 0.6, 0.3]), ["ant", "bee", "cat"])
    assert predict("three.onnx", "seven.png") == 0
    output, errors = capsys.readouterr()
    assert output.splitlines() == [
        "  image      answer  probability  (then the second)",
        "  seven.png  bee  0.6000  (then cat  0.3000)",
    ]
    assert errors == ""


def test_refusals_are_grouped(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three or more files that are refused for the same reason share a line; the last line has the counts."""
    for number in range(12):
        (work / f"bad{number:02}.png").write_bytes(b"")
    (work / "odd.png").write_bytes(b"no picture")
    (work / "seven.png").write_bytes(encoded(draw(7), "PNG"))
    assert predict("reader", *sorted(path.name for path in work.glob("*.png"))) == 2
    *errors, summary = capsys.readouterr().err.splitlines()
    assert summary == "1 read, 13 refused"
    grouped, single = errors
    assert grouped.startswith("error: 12 refused: ") and grouped.endswith("bad08.png, bad09.png and 2 more")
    assert single.startswith("error: odd.png: ")


def test_class_names(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Class names come from the model, else from the data set if their number fits, else they are numbers."""
    (work / "seven.png").write_bytes(encoded(draw(7), "PNG"))
    (work / "data/raw").mkdir(parents=True)
    (work / "data/raw/dataset.json").write_text(json.dumps({"class_names": WORDS}))
    write_reader(work / "models/named/model.onnx", [word.upper() for word in WORDS])
    write_model(work / "models/three/model.onnx", np.zeros((784, 3)), np.array([0, 1, 2.0]))
    for model in ("named", "reader", "three"):
        assert predict(model, "--json", "seven.png") == 0
    assert [row["label"] for row in rows(capsys)] == ["SEVEN", "seven", "2"]


def test_forms_agree(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, CSV and Parquet hold the same predictions, also with an invalid file among the inputs."""
    (work / "x.npy").write_bytes(npy(np.stack([template(digit) for digit in range(10)]).astype(np.uint8)))
    (work / "bad.png").write_bytes(b"")
    assert predict("reader", "x.npy", "bad.png", "--json") == 2
    objects = rows(capsys)
    assert objects.pop() == {"name": "bad.png", "error": "is empty", "unsure": True}
    assert predict("reader", "x.npy", "bad.png", "--csv") == 2
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert predict("reader", "x.npy", "bad.png", "--parquet", "out/x.parquet") == 2
    assert capsys.readouterr().out == ""
    parquet = pq.read_table("out/x.parquet").to_pylist()
    assert [row["label"] for row in objects] == [str(digit) for digit in range(10)]
    for one, two, three in zip(objects, table, parquet, strict=True):
        assert one["name"] == two["name"] == three["name"]
        assert one["runner_up"] == two["runner_up"] == three["runner_up"]
        assert float(one["probability"]) == float(two["probability"]) == pytest.approx(three["probability"])


def test_raw(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--raw uses pixels as they are, and rejects images of another size."""
    (work / "as-it-is.png").write_bytes(encoded(draw(7, 17).resize((28, 28)), "PNG"))
    (work / "large.png").write_bytes(encoded(draw(7), "PNG"))
    brightness = np.repeat([[-1.0, 1.0]], 784, axis=0) / 784 / 255  # the output depends on the mean brightness alone
    write_model(work / "bright.onnx", brightness, np.zeros(2))
    assert predict("bright.onnx", "--raw", "--json", "as-it-is.png", "large.png") == 2
    first, second = rows(capsys)
    mean = np.asarray(draw(7, 17).resize((28, 28)), float).mean() / 255
    assert float(first["probability"]) == pytest.approx(1 / (1 + np.exp(-2 * mean)), abs=1e-6)
    assert second["error"] == "has 320 x 320 pixels, the model takes 28 x 28; leave out --raw to have it scaled"


def test_blank_images_get_no_label(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A blank image is rejected, in an array, as a picture, and with --raw; the other images are classified."""
    images = np.stack([np.zeros((28, 28)), template(7), np.full((28, 28), 255), template(7) / 30])
    (work / "x.npy").write_bytes(npy(images.round().astype(np.uint8)))
    (work / "blank.png").write_bytes(encoded(Image.new("L", (28, 28)), "PNG"))
    for raw, classified in ((), [1]), (("--raw",), [1, 3]):  # raw pixels may be faint
        assert predict("reader", "--json", "x.npy", "blank.png", *raw) == 2
        objects = rows(capsys)
        assert [row["name"] for row in objects] == ["x.npy[0]", "x.npy[1]", "x.npy[2]", "x.npy[3]", "blank.png"]
        assert [number for number, row in enumerate(objects) if "label" in row] == classified
        assert objects[1]["label"] == "7"
        assert all("shows nothing" in row["error"] for row in objects if "error" in row)


def test_many_images_in_one_file(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of 10,000 images in an npz file gets the label of one NumPy matrix product, in order."""
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (10_000, 28, 28), np.uint8)
    weights, biases = random.normal(0, 1e-4, (784, 10)), random.normal(0, 0.1, 10)
    write_model(work / "m.onnx", weights, biases)
    (work / "many.npz").write_bytes(npz(x=pixels, y=np.zeros(10_000)))
    assert predict("m.onnx", "many.npz", "--csv") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    expected = (pixels.reshape(-1, 784) @ weights + biases).argsort(axis=1)
    assert [row["name"] for row in table] == [f"many.npz:x[{number}]" for number in range(10_000)]
    right = [int(row["label"]) == best for row, best in zip(table, expected[:, -1], strict=True)]
    assert np.mean(right) > 0.999  # float32 against float64: near ties may turn
    assert np.mean([int(row["runner_up"]) == second for row, second in zip(table, expected[:, -2], strict=True)]) > 0.99


@pytest.mark.farm
def test_387_invalid_files(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each of 387 invalid files with hostile names gets an error of one line; the valid file gets its prediction."""
    folder = work / "bad"
    folder.mkdir()
    names = []
    for number, (name, content) in enumerate(garbage()):
        path = folder / f"{number:03}{name.replace('/', '_')}"
        path.write_bytes(content)
        names.append(str(path.relative_to(work)))
    assert len(names) >= 300
    (folder / "good.png").write_bytes(encoded(scan(4, 1), "PNG"))
    assert predict("reader", "--csv", "bad") == 2
    output = capfd.readouterr()
    (prediction,) = csv.DictReader(io.StringIO(output.out))
    assert (prediction["name"], prediction["label"]) == ("bad/good.png", "4")
    *errors, summary = output.err.splitlines()
    assert summary == f"{len(errors)} of {len(errors) + 1} inputs could not be classified"
    assert "".join(errors).isprintable()
    assert all(line.startswith("error: bad/") for line in errors)
    for name in names:
        matching = [line for line in errors if line.startswith(f"error: {escape_unprintable(name)}")]
        assert matching, name
    assert "Traceback" not in output.err
    assert not (work / "harm").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("readr", "x"), "there is no model 'readr'; did you mean 'reader'? known: reader"),
        (("models/absent.onnx", "x"), "there is no model 'models/absent.onnx'"),
        (("a\0b", "x"), "there is no model"),
        (("a" * 300 + "@prod", "x"), "is in no DVC project"),
        (("reader", "good.png", "--parquet", "a" * 300), "File name too long; choose a shorter name"),
        (("broken.onnx", "x"), "is not a valid ONNX model"),
        (("folder", "x"), "the folder 'folder' holds no model.onnx; known: reader"),
        (("models/reader/model.keras", "x"), "is a Keras model, expected an ONNX model; use models/reader/model.onnx"),
        (("models/reader/saved_model", "x"), "is a SavedModel, expected an ONNX model; use models/reader/model.onnx"),
        (("lonely.tflite", "x"), "lonely.tflite: is a LiteRT model, expected an ONNX model, such as model.onnx"),
        (("reader", "good.png", "--parquet", "folder"), "--parquet folder: is a folder; name a file in it"),
        (("reader", "good.png", "--parquet", "broken.onnx/x.parquet"), "cannot write broken.onnx/x.parquet"),
    ],
)
def test_bad_models(work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    """A missing or broken model, and a result that cannot be written, are reported in one sentence."""
    (work / "broken.onnx").write_bytes(b"nonsense")
    (work / "folder").mkdir()
    (work / "models/reader/saved_model").mkdir()
    for name in ("models/reader/model.keras", "models/reader/saved_model/saved_model.pb", "lonely.tflite"):
        (work / name).write_bytes(b"")
    (work / "good.png").write_bytes(encoded(draw(7), "PNG"))
    assert predict(*arguments) in (1, 2)
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
