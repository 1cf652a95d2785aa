"""A trained model as a classifier of images of any origin."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.base.errors import DataError, InvalidInput, ModelError
from stages.base.suggestions import did_you_mean
from stages.inference.onnx_session import open_session, probabilities_of, task_in
from stages.model.tasks import CLASS_NAMES, PIXELS
from stages.predict.image_arrays import Images, Refusal
from stages.predict.mnist_form import LEAST_CONTRAST, to_field

MODELS = Path("models")
BATCH = 64  # images the model gets at once: of 16 to 512 the fastest here, by a third, as more leave the cache
FORMATS = {  # what models in files of these suffixes are called
    ".onnx": "an ONNX model", ".keras": "a Keras model", ".tflite": "a LiteRT model", ".h5": "an HDF5 file",
    ".pb": "a SavedModel",
}  # fmt: skip
BLANK = "shows nothing: its pixels are all alike, or nearly so"
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601), as Pillow


class Answer(NamedTuple):
    """What the model says of one image."""

    name: str
    label: str
    probability: float
    runner_up: str
    runner_up_probability: float


@dataclass(frozen=True)
class Classifier:
    """An open model, the form of image it takes, and what its classes are called."""

    path: Path
    session: Any
    shape: tuple[int, ...]  # (h, w) or (h, w, 1 or 3)
    class_names: tuple[str, ...]
    pixels: tuple[float, float] = (0.0, 255.0)  # the values of black and white that it takes

    @property
    def colour(self) -> bool:
        """Whether the model takes three channels."""
        return self.shape[2:] == (3,)

    def answers(self, pieces: Iterable[Images | Refusal], raw: bool) -> Iterator[list[Answer | Refusal]]:
        """What the model says of each image, in order, at most BATCH and a piece of an array at a time."""
        waiting: list[Refusal | str] = []
        fields: list[NDArray[Any]] = []
        for piece in pieces:
            for part in [piece] if isinstance(piece, Refusal) else self._fields(piece, raw):
                if isinstance(part, Refusal):
                    waiting.append(part)
                else:
                    waiting += part.names
                    fields.append(part.pixels)
                if len(waiting) >= BATCH:
                    yield self._ask(waiting, fields)
                    waiting, fields = [], []
        if waiting:
            yield self._ask(waiting, fields)

    def _fields(self, images: Images, raw: bool) -> Iterator[Images | Refusal]:
        """`images` as the model takes them: all at once where nothing is to be done, else one by one."""
        size = self.shape[:2]
        if raw and images.pixels.shape[1:3] != size:
            found, wanted = (f"{width} x {height}" for height, width in (images.pixels.shape[1:3], size))
            reason = f"has {found} pixels, the model takes {wanted}; leave out --raw to have it scaled"
            yield from (Refusal(name, reason) for name in images.names)
        elif raw or (images.of_array and images.pixels.shape[1:3] == size):
            for start in range(0, len(images.names), BATCH):
                piece = slice(start, start + BATCH)
                yield from self._visible(images.names[piece], self._channels(images.pixels[piece]), raw)
        else:
            for name, pixels in zip(images.names, images.pixels, strict=True):
                try:
                    yield Images([name], self._channels(self._field(pixels)[np.newaxis]), images.of_array)
                except DataError as error:
                    yield Refusal(name, str(error))

    def _visible(self, names: list[str], pixels: NDArray[np.float32], raw: bool) -> Iterator[Images | Refusal]:
        """`pixels` (n, *shape) as they are; a blank one is refused, as the model would name a digit all the same."""
        least = 1 if raw else LEAST_CONTRAST
        flat = pixels.reshape(len(names), -1)
        blank = flat.max(axis=1) - flat.min(axis=1) < least
        if self.colour or not blank.any():  # a class may be a colour
            yield Images(names, pixels, True)
            return
        for name, picture, is_blank in zip(names, pixels, blank, strict=True):
            yield Refusal(name, BLANK) if is_blank else Images([name], picture[np.newaxis], True)

    def _field(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """One image (h, w) or (h, w, 3) in the form of what the model learnt; in colour it is scaled alone."""
        height, width = self.shape[:2]
        if self.colour:
            picture = Image.fromarray(np.asarray(pixels).round().astype(np.uint8)).convert("RGB")
            return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        return to_field(grey(pixels).round().astype(np.uint8), height, width)

    def _channels(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """`pixels` (n, h, w) or (n, h, w, 3) as float32 (n, *shape)."""
        if self.colour:
            pixels = pixels if pixels.ndim == 4 else np.repeat(pixels[..., np.newaxis], 3, axis=3)
        return np.asarray(pixels if self.colour else grey(pixels, 3), np.float32).reshape(-1, *self.shape)

    def _ask(self, waiting: Sequence[Refusal | str], fields: Sequence[NDArray[Any]]) -> list[Answer | Refusal]:
        found = iter(self._best(np.concatenate(fields)) if fields else ())
        return [what if isinstance(what, Refusal) else Answer(what, *next(found)) for what in waiting]

    def _best(self, pixels: NDArray[np.float32]) -> Iterator[tuple[str, float, str, float]]:
        """Best and second class of each image, with their probabilities."""
        low, high = self.pixels
        taken = pixels if (low, high) == (0, 255) else low + pixels * ((high - low) / 255)
        probabilities = probabilities_of(self.session, self.path, taken)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        values = np.take_along_axis(probabilities, order, axis=1)
        for (first, second), (high, low) in zip(order.tolist(), values.tolist(), strict=True):
            yield self.class_names[first], high, self.class_names[second], low


def grey(pixels: NDArray[Any], dimensions: int = 2) -> NDArray[Any]:
    """`pixels` without its channels, if it has any beyond so many `dimensions`."""
    return pixels @ GREY if pixels.ndim > dimensions else pixels


def find_model(model: str, file: str = "model.onnx") -> Path:
    """The file of `model`, which is a name below MODELS, a folder, or a path.

    Raises:
        InvalidInput: there is no such model, or it is one in another format.
    """
    tried = (Path(model), Path(model) / file, MODELS / model / file)
    for path in tried:
        if _is_file(path):
            _check_format(path, file)
            return path
    _check_format(Path(model), file)
    known = sorted(path.parent.name for path in MODELS.glob(f"*/{file}"))
    hint = did_you_mean(model, known)
    there = f"known: {', '.join(known)}" if known else f"{MODELS} holds none: train one with `inkflow run`"
    what = f"the folder {model!r} holds no {file}" if _is_folder(tried[0]) else f"there is no model {model!r}"
    raise InvalidInput(f"{what}; {hint}{there}")


def _check_format(path: Path, file: str) -> None:
    """See that `path` is no model in another format than that of `file`; the right one mostly lies beside it.

    Raises:
        InvalidInput: with the path to give instead.
    """
    wanted = Path(file).suffix
    found = path.suffix if _is_file(path) else ".pb" if _is_file(path / "saved_model.pb") else wanted
    if found == wanted or found not in FORMATS:
        return
    beside = path.parent / file
    advice = f"; give {beside}, which lies beside it" if _is_file(beside) else f", such as {file}"
    raise InvalidInput(f"{path}: is {FORMATS[found]}, expected {FORMATS[wanted]}{advice}")


def open_classifier(path: Path) -> Classifier:
    """The classifier in the ONNX file `path`.

    Raises:
        ModelError: the file cannot be read, or is no classifier of images.
    """
    session = open_session(path)
    shape, classes = _form(path, session)
    about = _data_set(path) | _inside(session)
    return Classifier(path, session, shape, _class_names(path, session, classes, about), _pixels(about))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        return False


def _form(path: Path, session: Any) -> tuple[tuple[int, ...], int]:
    """Shape of an image and number of classes."""
    ports = (*session.get_inputs(), *session.get_outputs())
    shapes = [tuple(port.shape[1:]) for port in ports]
    whole = all(isinstance(side, int) and side > 0 for shape in shapes for side in shape)
    if len(ports) == 2 and whole and all(port.type == "tensor(float)" for port in ports):
        image, output = shapes
        if len(output) == 1 and output[0] > 1 and (len(image) == 2 or (len(image) == 3 and image[2] in (1, 3))):
            return image, output[0]
    found = ", ".join(f"{port.name} {port.type} {port.shape}" for port in ports)
    raise ModelError(
        f"{path}: is no classifier of images ({found}), expected one input of float32 (batch, h, w) or "
        "(batch, h, w, 1 or 3) and one output of float32 (batch, classes)"
    )


def _inside(session: Any) -> dict[str, Any]:
    """What the model itself says of its data set; an entry that is no JSON says nothing."""
    found = {}
    for key in (CLASS_NAMES, PIXELS):
        try:
            found[key] = json.loads(session.get_modelmeta().custom_metadata_map[key])
        except (KeyError, ValueError, RecursionError):
            continue
    return found


def _data_set(path: Path) -> dict[str, Any]:
    """What is known of the project's data set, from the file beside the models; nothing when there is none."""
    above = path.absolute().parents
    try:
        about = json.loads((above[min(2, len(above) - 1)] / "data" / "raw" / "dataset.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _pixels(about: dict[str, Any]) -> tuple[float, float]:
    """The values of black and white in the data set."""
    try:
        return float(about[PIXELS]["low"]), float(about[PIXELS]["high"])
    except (LookupError, TypeError, ValueError):
        return 0.0, 255.0


def _class_names(path: Path, session: Any, classes: int, about: dict[str, Any]) -> tuple[str, ...]:
    """The names in the model itself, else those of the project's data set if they fit, else numbers."""
    names = about.get(CLASS_NAMES)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    task = task_in(session, path)
    if task.kind == "two_class":  # its labels are made from those of the data set
        last = max(task.positive)
        return task.names(names if last < len(names) else list(map(str, range(last + 1))))
    return tuple(names) if len(names) == classes else tuple(map(str, range(classes)))
