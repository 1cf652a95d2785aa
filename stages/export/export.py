"""A trained model as LiteRT or SavedModel: raw pixels to answers, as its ONNX, and checked before it is kept."""

import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, InkflowError, InvalidInput, ModelError
from stages.base.files import EPOCH, replacing, replacing_folder
from stages.export.formats import FORMATS
from stages.inference.onnx_session import answer, open_model, open_session, task_in
from stages.model.compatibility import OUTPUTS, OutputName, TaskName
from stages.model.tasks import Task
from stages.predict.classifier import find_model
from stages.report.records import Training, read_record
from stages.samples.prepared import Prepared, TrainingData, raw_pixels, read_training_data
from stages.train.device import load_keras, without_greetings

COMPARED = 1000  # validation images on which the export must agree with Keras
TOLERANCE = 1e-5  # largest difference of an answer, both in float32: that of the ONNX export


CARD = "inkflow.json"  # what is known of the model, in the LiteRT file's zip or the SavedModel's assets.extra
LABELS = "labels.txt"  # a name for each answer, one a line: what tools for LiteRT look for


class Kind(NamedTuple):
    """What the numbers that a network gives are."""

    task: TaskName
    output: OutputName


Card = dict[str, Any]


Answers = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def export(model: str, form: str, data: Path, out: Path | None = None) -> tuple[Path, float]:
    """Write `model` in the format `form`; `data` is what it was trained on, prepared.

    Returns:
        What was written, and the largest difference of an answer from Keras.

    Raises:
        InvalidInput: the model or the data cannot be read, or do not belong together.
        InkflowError: the export does not do what Keras does; nothing was written.
        OutputError: it cannot be written.
    """
    path = find_model(model, "model.keras")
    known = read_training_data(data)
    serving = _serving(path, known)
    pixels = raw_pixels(np.asarray(known.validation.images[:COMPARED]), known.prepared)
    expected = serving.predict(pixels, batch_size=len(pixels), verbose=0)
    _check_belongs(path, data, known, pixels, expected)
    card = _card(path, known.prepared)
    target = out or path.with_name(FORMATS[form])
    writer = replacing(target) if form == "litert" else replacing_folder(target)
    with writer as temporary:
        write = _write_litert if form == "litert" else _write_saved_model
        answers = write(serving, temporary, card)
        difference = _check(answers(pixels), expected, form)
    return target, difference


def _serving(path: Path, known: TrainingData) -> Any:
    """Keras model from raw pixels to answers, of the network in the file `path`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whose formats these are, whatever trained the network
    load_keras()
    import keras  # slow: only when all else is there

    from stages.train.export import model_files

    try:
        network = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: is not a Keras model ({reason}); train it again") from error
    shape = tuple(network.input_shape[1:])
    if shape != tuple(known.prepared.shape):
        raise ModelError(f"{path}: takes images of shape {shape}, but the data has {known.prepared.shape}")
    return model_files.serving(network, known.prepared, _kind(path, network))


def _kind(path: Path, network: Any) -> Kind:
    """What the network in the file `path` gives; training.json beside it says what a single number means."""
    inner = next((layer for layer in network.layers if hasattr(layer, "layers")), network)  # of test-time augmentation
    linear = inner.layers[-1].get_config().get("activation") == "linear"
    task: TaskName = "multiclass"
    if network.output_shape[-1] == 1:
        try:
            task = read_record(path.with_name("training.json"), Training).task
        except DataError as error:
            raise ModelError(f"{path}: what its one output means stands beside it: {error}") from error
    if task == "regression":
        return Kind(task, "linear")  # or softplus, which is a part of the network
    return Kind(task, "logits" if linear else OUTPUTS[task][0])


def _card(path: Path, prepared: Prepared) -> Card:
    """What a reader of the export has to know: names of the answers, range and shape of the pixels.

    What a two-class model calls positive, and which numbers a regression's labels are, its ONNX tells.
    """
    examined = path.with_name("model.onnx")
    task = task_in(open_session(examined), examined) if examined.exists() else Task()
    names = prepared.class_names or tuple(map(str, range(prepared.classes)))
    answers = {"values": task.numbers(prepared.classes).tolist()}
    return {
        "task": task.kind,
        "pixels": prepared.pixels.model_dump(),
        "shape": prepared.raw_shape,
        **(answers if task.kind == "regression" else {"class_names": task.names(names)}),
    }


def _files(card: Card) -> dict[str, str]:
    """Content by name of the files that tell of a model."""
    files = {CARD: json.dumps(card, indent=2, ensure_ascii=False) + "\n"}
    return files | ({LABELS: "".join(f"{name}\n" for name in card["class_names"])} if "class_names" in card else {})


def _check_belongs(
    path: Path, data: Path, known: TrainingData, pixels: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    """See that the ONNX beside the model, which is what was examined, gives what Keras gives on this data."""
    examined = path.with_name("model.onnx")
    if not examined.exists():
        return
    session = open_model(examined, known.prepared.raw_shape, known.prepared.classes)
    given = answer(session, examined, pixels)
    difference = _difference(given, expected) if given.shape == expected.shape else np.inf
    if not difference <= TOLERANCE:
        raise InvalidInput(
            f"{path}: with {data} it gives answers {difference:.2g} off those of {examined.name}, expected at "
            f"most {TOLERANCE:g}: the data was prepared otherwise than for this model; run `inkflow run` first"
        )


def _difference(given: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of an answer, relative to the largest answer where that is above 1 (values may be large)."""
    return float(np.abs(given - expected).max() / max(1.0, float(np.abs(expected).max())))


def _check(given: NDArray[np.float32], expected: NDArray[np.float32], form: str) -> float:
    difference = _difference(given, expected)
    if not difference <= TOLERANCE:
        raise InkflowError(
            f"the {form} export gives answers {difference:.2g} off those of Keras, "
            f"expected at most {TOLERANCE:g}; nothing was written: please report the parameters"
        )
    return difference


def _write_litert(serving: Any, path: Path, card: Card) -> Answers:
    """Write LiteRT to the file `path`, and give what answers with it.

    What is known of it follows as a zip, as LiteRT's own metadata tools append files: LiteRT reads on without it.
    """
    import tensorflow as tf  # slow, and loaded by now

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "exported.tflite")  # Keras writes to this suffix alone
        serving.export(str(exported), "litert", verbose=False)
        path.write_bytes(exported.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in _files(card).items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)

    def answers(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            # It moves to a package of its own; until then this one does the same.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated", UserWarning)
            interpreter = tf.lite.Interpreter(str(path))
        place, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(place, pixels.shape)
        try:
            with without_greetings():
                interpreter.allocate_tensors()
        except RuntimeError as error:  # operations that LiteRT has only with TensorFlow beside it
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise InkflowError(f"LiteRT cannot run this model ({reason}); choose --format saved_model") from error
        interpreter.set_tensor(place, pixels)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result))

    return answers


def _write_saved_model(serving: Any, folder: Path, card: Card) -> Answers:
    """Write a SavedModel to `folder`, with what is known of it where such files go, and give what answers with it."""
    import tensorflow as tf  # slow, and loaded by now

    serving.export(str(folder), "tf_saved_model", verbose=False)
    (folder / "assets.extra").mkdir()
    for name, text in _files(card).items():
        (folder / "assets.extra" / name).write_text(text, encoding="utf-8")
    loaded = tf.saved_model.load(str(folder))
    return lambda pixels: np.asarray(loaded.serve(pixels))
