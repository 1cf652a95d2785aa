"""Classifies images with an exported model: opens the model, fits images to its input, runs it in batches."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.base.errors import DataError, ModelError
from stages.base.sample_kinds import KINDS
from stages.inference.onnx_session import NoPrediction, open_session, predict_values, prediction_outputs, read_task
from stages.model.doubt import Thresholds
from stages.model.tasks import CLASS_NAMES, KIND, PIXELS, STAND_IN, VOCABULARY
from stages.predict.doubt import NO_THRESHOLDS, probabilities_and_unlikeness, read_thresholds, reason_of_doubt
from stages.predict.earlier_outputs import project_of, readable
from stages.predict.foreign_json import parse_foreign_json
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import escape_unprintable
from stages.predict.mnist_form import MIN_CONTRAST, to_mnist_form
from stages.predict.picture_depth import as_grey, stretched
from stages.predict.results import Prediction, Result, Value
from stages.predict.sample_form import SampleForm, picture_form, sample_form
from stages.samples.picture_form import PictureForm, has_light_border

BATCH = 64  # images: of 16 to 512 the fastest here, by a third; larger batches exceed the processor's cache
MAX_VALUES, MAX_CLASSES = 4_000_000, 65_536  # of an input image, and of an output: a batch has to fit into memory
MAX_GOT = 300  # characters of a model's inputs and outputs in a message
MAX_PIXEL_VALUE = 1e30  # of black and white: float32 holds it
NO_PREDICTION = "has values from {:g} to {:g}, for which the model gives no valid prediction"
BLANK = "shows nothing: its pixels have all the same value, or nearly"
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601), as in Pillow


@dataclass(frozen=True)
class Classifier:
    """An open model with its input shape and class names.

    Attributes:
        path: The model's ONNX file.
        session: The ONNX Runtime session.
        shape: Shape of an input image: (h, w) or (h, w, 1 or 3).
        class_names: Names of the classes, in the order of the model's output; none for a regression.
        pixel_range: The values of black and white in the model's input.
        stand_in_for: The data set for which that of the model's training is only a stand-in, if it is one.
        form: The form of the samples, if they are no images.
        thresholds: Under these an answer is unsure; None if the model states none.
        picture_form: The form of the training's grey pictures; None for that of MNIST.
    """

    path: Path
    session: Any
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    pixel_range: tuple[float, float]
    stand_in_for: str | None = None
    form: SampleForm | None = None
    thresholds: Thresholds | None = None
    picture_form: PictureForm | None = None

    @property
    def predicts_values(self) -> bool:
        """Whether the model is a regression, which answers with a Value."""
        return not self.class_names

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields of an answer, except the probabilities of all classes."""
        return Value._fields if self.predicts_values else Prediction._fields[:-1]

    @property
    def is_colour(self) -> bool:
        """Whether the model takes three channels."""
        return self.shape[2:] == (3,)

    def predict(self, inputs: Iterable[Images | RejectedInput], raw: bool) -> Iterator[list[Result | RejectedInput]]:
        """Classifies `inputs` in batches, and yields the results of each batch; the order is that of the inputs.

        Args:
            inputs: Images, and inputs that were rejected when they were read.
            raw: Take pixels as they are; else images are converted to the form of the training's images.
        """
        pending: list[RejectedInput | str] = []
        arrays: list[NDArray[Any]] = []
        for item in inputs:
            for part in [item] if isinstance(item, RejectedInput) else self.fit_to_input(item, raw):
                if isinstance(part, RejectedInput):
                    pending.append(part)
                else:
                    pending += part.names
                    arrays.append(part.pixels)
                if len(pending) >= BATCH:
                    yield self._predict_batch(pending, arrays)
                    pending, arrays = [], []
        if pending:
            yield self._predict_batch(pending, arrays)

    def fit_to_input(self, images: Images, raw: bool) -> Iterator[Images | RejectedInput]:
        """Yields `images` in the model's shape: in slices where the size is right, else one by one."""
        size = self.shape[:2]
        if self.form is not None:
            for start in range(0, len(images.names), BATCH):
                yield Images(images.names[start : start + BATCH], images.pixels[start : start + BATCH], True)
        elif raw and images.pixels.shape[1:3] != size:
            got, expected = (f"{width} x {height}" for height, width in (images.pixels.shape[1:3], size))
            reason = f"has {got} pixels, the model takes {expected}; leave out --raw to have it scaled"
            yield from (RejectedInput(name, reason) for name in images.names)
        elif raw or (images.from_array and images.pixels.shape[1:3] == size):
            for start in range(0, len(images.names), BATCH):
                part = slice(start, start + BATCH)
                yield from self._reject_blank(images.names[part], self._to_shape(images.pixels[part]), raw)
        else:
            for name, pixels in zip(images.names, images.pixels, strict=True):
                try:
                    fitted = self._to_shape(self._scaled(pixels)[np.newaxis])
                except DataError as error:
                    yield RejectedInput(name, str(error))
                else:
                    yield from self._reject_blank([name], fitted, raw)

    def _reject_blank(
        self, names: list[str], pixels: NDArray[np.float32], raw: bool
    ) -> Iterator[Images | RejectedInput]:
        """Yields `pixels` (n, *shape), but rejects blank images, to which the model would give a label too."""
        blank = self.are_blank(pixels, raw)
        if not blank.any():
            yield Images(names, pixels, True)
            return
        for name, image, is_blank in zip(names, pixels, blank, strict=True):
            yield RejectedInput(name, BLANK) if is_blank else Images([name], image[np.newaxis], True)

    def are_blank(self, pixels: NDArray[np.float32], raw: bool = False) -> NDArray[np.bool_]:
        """Returns for each of `pixels` (n, *shape) in 0..255 whether it shows nothing.

        With `raw`, and if the training's pictures were taken as they are, such an image has one value.
        """
        flat = pixels.reshape(len(pixels), -1)
        blank = flat.max(axis=1) - flat.min(axis=1) < (1 if raw or self.picture_form else MIN_CONTRAST)
        return np.asarray(blank & (not self.is_colour))  # a class may be a plain colour

    def _scaled(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Returns one image (h, w) or (h, w, 3) in the model's size, as the training has its pictures."""
        height, width = self.shape[:2]
        if self.is_colour:
            picture = Image.fromarray(np.asarray(pixels).round().astype(np.uint8)).convert("RGB")
            return stretched(np.asarray(picture), (height, width))
        if self.picture_form:
            grey = as_grey(pixels)
            if self.picture_form.background != "dark" or not has_light_border(grey):
                return stretched(grey, (height, width))
        return to_mnist_form(_to_grey(pixels, 2).round().astype(np.uint8), height, width)

    def _to_shape(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Returns `pixels` (n, h, w) or (n, h, w, 3) as float32 (n, *shape)."""
        if self.is_colour:
            pixels = pixels if pixels.ndim == 4 else np.repeat(pixels[..., np.newaxis], 3, axis=3)
        return np.asarray(pixels if self.is_colour else _to_grey(pixels, 3), np.float32).reshape(-1, *self.shape)

    def _predict_batch(
        self, pending: Sequence[RejectedInput | str], arrays: Sequence[NDArray[Any]]
    ) -> list[Result | RejectedInput]:
        """Returns a result for each item of `pending`: an input's rejection, or the name of an image in `arrays`."""
        answers = iter(self.answers_or_refusals(np.concatenate(arrays)) if arrays else ())
        return [item if isinstance(item, RejectedInput) else next(answers)._replace(name=item) for item in pending]

    def answers_or_refusals(self, pixels: NDArray[np.float32]) -> list[Result | RejectedInput]:
        """Returns what `answers` yields, and refuses samples with values that are too large for the model's arithmetic.

        Raises:
            ModelError: The model fails, or gives no right answers for a sample of zeros or an image either.
        """
        try:
            return list(self.answers(pixels))
        except NoPrediction as error:
            if self.form is None or not (error.right.any() or self._answers_zeros()):
                raise
            right = error.right
        found = iter(list(self.answers(pixels[right])) if right.any() else ())
        return [
            next(found) if is_right else RejectedInput("", NO_PREDICTION.format(sample.min(), sample.max()))
            for sample, is_right in zip(pixels, right, strict=True)
        ]

    def _answers_zeros(self) -> bool:
        """Returns whether the model answers a sample of zeros; a watcher does not see it."""
        try:
            return bool(list(Classifier.answers(self, np.zeros((1, *self.shape), np.float32))))
        except NoPrediction:
            return False

    def answers(self, pixels: NDArray[np.float32]) -> Iterator[Result]:
        """Yields a Prediction or a Value without a name for each image."""
        low, high = self.pixel_range
        scaled = pixels if (low, high) == (0, 255) else low + pixels * ((high - low) / 255)
        if self.predicts_values:
            yield from (Value("", value) for value in predict_values(self.session, self.path, scaled)[:, 0].tolist())
            return
        probabilities, unlikeness = probabilities_and_unlikeness(self.session, self.path, scaled, self.thresholds)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        names = self.class_names
        doubt: tuple[bool | None, str] = (None, NO_THRESHOLDS)
        for row, (first, second), unlike in zip(probabilities.tolist(), order.tolist(), unlikeness, strict=True):
            if self.thresholds:
                reason = reason_of_doubt(row[first], unlike, self.thresholds)
                doubt = (bool(reason), reason)
            yield Prediction("", names[first], row[first], names[second], row[second], *doubt, unlike, tuple(row))


def _to_grey(pixels: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """Returns `pixels` with `dimensions` axes: a further axis holds red, green and blue."""
    return pixels @ GREY_WEIGHTS if pixels.ndim > dimensions else pixels


def open_classifier(path: Path) -> Classifier:
    """Returns the classifier in the ONNX file `path`.

    Raises:
        ModelError: The file cannot be read, or is not a classifier.
    """
    session = open_session(path)
    metadata = _model_metadata(session)
    form = sample_form(session, metadata)
    shape, classes = _shape_and_classes(path, session, form)
    if form is None:
        metadata = _dataset_metadata(path) | metadata
    names = _class_names(path, session, classes, metadata) if classes else ()
    stand_in = metadata.get(STAND_IN)
    stand_in_for = stand_in[:100] if isinstance(stand_in, str) and stand_in else None
    thresholds = read_thresholds(path, session)
    pictures = picture_form(path, session)
    return Classifier(path, session, shape, names, _pixel_range(metadata), stand_in_for, form, thresholds, pictures)


def _shape_and_classes(path: Path, session: Any, form: SampleForm | None) -> tuple[tuple[int, ...], int]:
    """Returns the shape of a sample, and the number of classes, 0 for a regression."""
    is_regression = read_task(session, path).kind == "regression"
    ports = *session.get_inputs(), *(outputs := prediction_outputs(session))
    try:
        shapes = [tuple(port.shape[1:]) for port in ports]
    except UnicodeDecodeError as error:  # an axis may have a name instead of a length
        raise ModelError(f"{path}: is damaged: the name of an axis is no text; export the model again") from error
    is_fixed = all(isinstance(side, int) and side > 0 for shape in shapes for side in shape)
    if len(ports) == 2 and len(outputs) == 1 and is_fixed and all(port.type == "tensor(float)" for port in ports):
        image, output = shapes
        is_image = len(image) == 2 or (len(image) == 3 and image[2] in (1, 3))
        is_known = is_image if form is None else len(image) == len(KINDS[form.kind].axes)
        if is_known and math.prod(image) <= MAX_VALUES and len(output) == 1:
            least, most = (1, 1) if is_regression else (2, MAX_CLASSES)
            if least <= output[0] <= most:
                return image, 0 if is_regression else output[0]
    got = ", ".join(escape_unprintable(f"{port.name} {port.type} {port.shape}") for port in ports)
    raise ModelError(
        f"{path}: is not a classifier of images: got {got[:MAX_GOT]}, expected one input of float32 (batch, h, w) or "
        f"(batch, h, w, 1 or 3) of at most {MAX_VALUES:,} values and one output of float32 (batch, classes) of at most "
        f"{MAX_CLASSES:,}, or (batch, 1) of a regression"
    )


def _model_metadata(session: Any) -> dict[str, Any]:
    """Returns the facts of the data set in the model's metadata; leaves out an entry that is not valid JSON."""
    metadata = {}
    for key in (CLASS_NAMES, PIXELS, STAND_IN, KIND, VOCABULARY):
        try:
            metadata[key] = parse_foreign_json(session.get_modelmeta().custom_metadata_map[key])
        except (KeyError, ValueError):
            continue
    return metadata


def _dataset_metadata(path: Path) -> dict[str, Any]:
    """Returns the content of data/raw/dataset.json in the project of the model file `path`, {} if there is none."""
    description = project_of(path) / "data" / "raw" / "dataset.json"
    try:
        metadata = parse_foreign_json(readable(description).read_bytes())
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _pixel_range(metadata: dict[str, Any]) -> tuple[float, float]:
    try:
        low, high = float(metadata[PIXELS]["low"]), float(metadata[PIXELS]["high"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return 0.0, 255.0
    return (low, high) if max(abs(low), abs(high)) <= MAX_PIXEL_VALUE else (0.0, 255.0)  # not for NaN either


def _class_names(path: Path, session: Any, classes: int, metadata: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names in `metadata` if their number is right, else numbers."""
    names = metadata.get(CLASS_NAMES)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    task = read_task(session, path)
    if task.kind == "two_class":  # its names are made from those of the data set's labels
        last = max(task.positive)
        return task.class_names(names if last < len(names) else list(map(str, range(last + 1))))
    return tuple(names) if len(names) == classes else tuple(map(str, range(classes)))
