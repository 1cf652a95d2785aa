"""Own pictures that do not have MNIST's form reach a model as its training has them, at all doors."""

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.base.errors import ModelError
from stages.predict.classifier import BLANK, Classifier, open_classifier
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.inputs import read
from stages.predict.mnist_form import to_mnist_form
from stages.predict.picture_depth import stretched
from stages.predict.score import score
from stages.samples.picture_form import PictureForm
from stages.serve.pictures import read_picture
from tests.stages.own_data.conftest import Add
from tests.support.model_server import served_app
from tests.support.own_letters import NAMES, letter, set_form, write_letter_model
from tests.support.pictures import draw, template, write_reader

BACKGROUNDS = ("dark", "light", "mixed")
SIZES = [(28, 28), (40, 40), (90, 61), (28, 35), (700, 1400)]  # the last is reduced when it is read


def write_letters(folder: Path, mode: str = "L", suffix: str = "png") -> list[Path]:
    """Writes a folder of letters of all SIZES, and returns the files in the order of the classes."""
    files = []
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number, size in enumerate(SIZES):
            files.append(folder / name / f"{number}.{suffix}")
            picture = letter(name, 7000 + 10 * len(files), size).convert(mode)
            if mode == "RGB":  # on yellow
                picture = Image.fromarray(np.minimum(np.asarray(picture), np.array([250, 240, 120], np.uint8)))
            picture.save(files[-1])
    return files


def own(
    shape: tuple[int, ...],
    pixel_range: tuple[float, float] = (0, 255),
    background: Literal["dark", "light", "mixed"] = "light",
) -> Classifier:
    """Returns a model of own pictures, without a session, for images of `shape`."""
    form = None if shape[2:] == (3,) else PictureForm(background=background)
    return Classifier(Path("model.onnx"), None, shape, tuple(NAMES), pixel_range, picture_form=form)


def view(model: Classifier, file: Path) -> NDArray[np.float32]:
    """Returns the one image of `file` as `predict` and `score` give it to the model."""
    (found,) = read(model, str(file))
    assert isinstance(found, Images)
    (fitted,) = model.fit_to_input(found, raw=False)
    assert isinstance(fitted, Images)
    pixels: NDArray[np.float32] = fitted.pixels[0]
    return pixels


@pytest.mark.parametrize(
    ("background", "is_dark", "is_converted"),
    [(background, is_dark, background == "dark" and not is_dark) for background in BACKGROUNDS for is_dark in (0, 1)],
)
def test_ink_on_paper_for_a_model_of_dark_pictures(
    tmp_path: Path, background: Literal["dark", "light", "mixed"], is_dark: bool, is_converted: bool
) -> None:
    """A picture with a light border is none of the training's own: it is converted, any other one stretched."""
    picture = np.asarray(letter(NAMES[0], 7000, (90, 61)))
    picture = 255 - picture if is_dark else picture
    Image.fromarray(picture).save(tmp_path / "a.png")
    expected = to_mnist_form(picture, 28, 28) if is_converted else stretched(picture, (28, 28))
    assert np.array_equal(view(own((28, 28), background=background), tmp_path / "a.png"), expected)


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("RGB", "png"), ("RGBA", "png"), ("RGB", "jpg")])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"size": [28], "grey": True}, (28, 28)),
        ({"size": [20, 33], "grey": True}, (20, 33)),
        ({"size": [32]}, (32, 32, 3)),
    ],
)
def test_a_picture_is_what_the_training_has(
    tmp_path: Path, add: Add, mode: str, suffix: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Each file has the same pixels in the training, in `predict`, in `score` and in /predict, at any size."""
    files = write_letters(tmp_path / "p", mode, suffix)
    added = add(tmp_path / "p", test=[str(tmp_path / "p")], **options)
    trained, model = added.arrays["x_train"], own(shape)
    trained = np.stack([trained] * 3, axis=3) if len(shape) > trained.ndim - 1 else trained  # grey for a colour model
    for file, pixels in zip(files, trained, strict=True):
        assert np.array_equal(view(model, file), pixels), file
        assert np.array_equal(read_picture(file.read_bytes(), model, 10**6)[0], pixels), file


def test_a_deep_picture_is_what_the_training_has(tmp_path: Path, add: Add) -> None:
    """Pictures of 16 bits are equal to half a step of their depth, to which the training rounds stretched ones."""
    files = write_letters(tmp_path / "p")
    for file in files:
        deep = np.asarray(Image.open(file)).astype(np.uint16) * 16
        Image.fromarray(deep).save(file)
    added = add(tmp_path / "p", test=[str(tmp_path / "p")], size=[28])
    model = own((28, 28), (0, 4095))
    for file, pixels in zip(files, added.arrays["x_train"], strict=True):
        assert np.abs(view(model, file) * (4095 / 255) - pixels).max() <= 0.5 + 1e-3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of letters, the same without the entry, and fresh pictures."""
    folder = tmp_path_factory.mktemp("letters")
    write_letter_model(folder / "models/mine/model.onnx")
    write_letter_model(folder / "models/older/model.onnx", has_entry=False)
    write_letters(folder / "pictures")
    return folder


def test_letters_are_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most fresh letters of all sizes are right at each door, with equal answers."""
    monkeypatch.chdir(project)
    files = sorted(Path("pictures").rglob("*.png"))
    model = open_classifier(Path("models/mine/model.onnx"))
    inputs = (one for file in files for one in read(model, str(file)))
    predicted = [one for batch in model.predict(inputs, raw=False) for one in batch]
    labels = [getattr(one, "label", "") for one in predicted]
    assert np.mean([label == file.parent.name for label, file in zip(labels, files, strict=True)]) > 0.7
    score("mine", Path("pictures"), Path("scores.parquet"), watch=False)
    table = pq.read_table("scores.parquet")
    assert table["file"].to_pylist() == [str(file.relative_to("pictures")) for file in files]
    assert table["label"].to_pylist() == labels
    with served_app(project, "mine", "--no-watch") as client:
        assert [client.post("/predict", content=file.read_bytes()).json()["label"] for file in files] == labels
        assert client.get("/card").json()["picture_form"] == {"conversion": "stretch", "background": "light"}


def test_an_older_model_converts(project: Path) -> None:
    """A model without the entry gets pictures in MNIST's form, as before, and its card has no form."""
    model, file = open_classifier(project / "models/older/model.onnx"), project / "pictures/A/0.png"
    converted = view(model, file)
    assert (converted[0] == 0).all() and converted.max() == 255
    with served_app(project, "older", "--no-watch") as client:
        assert client.get("/card").json()["picture_form"] is None


def test_raw_keeps_its_meaning(project: Path) -> None:
    """With --raw, pictures of another size are refused, and those of the model's size are taken as they are."""
    model = open_classifier(project / "models/mine/model.onnx")
    parts: list[Images | RejectedInput] = []
    for number in (0, 1):
        (found,) = read(model, str(project / f"pictures/A/{number}.png"))
        assert isinstance(found, Images)
        parts += model.fit_to_input(found, raw=True)
    assert isinstance(parts[0], Images)
    assert np.array_equal(parts[0].pixels[0], np.asarray(Image.open(project / "pictures/A/0.png")))
    assert isinstance(parts[1], RejectedInput) and "the model takes 28 x 28; leave out --raw" in parts[1].reason


def test_blank_pictures(project: Path) -> None:
    """Only pictures of one value are blank: the training's own pictures may be pale."""
    model = open_classifier(project / "models/mine/model.onnx")
    pale = np.full((60, 50), 200, np.uint8)
    (blank,) = model.fit_to_input(Images(["a"], pale[np.newaxis], False), raw=False)
    assert blank == RejectedInput("a", BLANK)
    pale[20:40, 20:40] = 190
    (found,) = model.fit_to_input(Images(["a"], pale[np.newaxis], False), raw=False)
    assert isinstance(found, Images)
    assert model.are_blank(np.stack([found.pixels[0], np.full((28, 28), 9, np.float32)])).tolist() == [False, True]


def test_arrays_of_other_sizes_are_stretched(project: Path) -> None:
    """Arrays of another size than the model's are stretched too, those of its size are taken as they are."""
    model = open_classifier(project / "models/mine/model.onnx")
    picture = letter("B", 3, (56, 56))
    (found,) = model.fit_to_input(Images(["a[0]"], np.asarray(picture)[np.newaxis], True), raw=False)
    assert isinstance(found, Images)
    assert np.array_equal(found.pixels[0], np.asarray(picture.resize((28, 28), Image.Resampling.BILINEAR)))


def test_mnist_is_converted_as_before(tmp_path: Path) -> None:
    """A model of digits in MNIST's form converts pictures, also large ones with dark ink."""
    model = open_classifier(write_reader(tmp_path / "reader" / "model.onnx"))
    draw(3).save(tmp_path / "3.png")
    Image.fromarray(255 - np.asarray(draw(3))).save(tmp_path / "inverted.png")
    Image.fromarray(template(3).round().astype(np.uint8)).save(tmp_path / "small.png")
    assert np.array_equal(view(model, tmp_path / "small.png"), template(3).round())
    assert np.abs(view(model, tmp_path / "3.png") - view(model, tmp_path / "inverted.png")).max() <= 1


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"conversion": "crop", "background": "light"}', '{"background": "red"}', "9" * 2000]
)
def test_an_unknown_form_is_refused(tmp_path: Path, project: Path, text: str) -> None:
    """A model with a form that this version does not know is refused: its answers would be wrong, and sure."""
    path = tmp_path / "model.onnx"
    shutil.copyfile(project / "models/mine/model.onnx", path)
    with pytest.raises(ModelError, match="has a form of pictures that this version does not know"):
        open_classifier(set_form(path, text))
