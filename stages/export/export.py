"""Exports a trained model as LiteRT or SavedModel, from raw pixels to predictions, and compares it with Keras."""

import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, InkflowError, InvalidInput, ModelError
from stages.base.files import ZIP_EPOCH, replacing, replacing_folder
from stages.base.sample_kinds import KINDS
from stages.base.shown_text import remove_controls
from stages.data.memory import limited_memory, share_of_machine
from stages.export.formats import check_target
from stages.export.metadata import Metadata, metadata_files, metadata_of
from stages.inference.onnx_session import open_model, open_session, predict, read_doubt
from stages.model.compatibility import OUTPUTS, OutputName, TaskName
from stages.model.export_formats import FORMATS
from stages.predict.earlier_outputs import original, readable, use_readable
from stages.predict.model_files import find_model
from stages.predict.model_standing import check_undamaged
from stages.report.records import Training, read_record
from stages.samples.prepared import TrainingData, raw_pixels, read_training_data
from stages.train.device import load_keras, without_cuda_messages, without_startup_messages

CHECKED_SAMPLES = 1000  # validation images on which the export must agree with Keras
TOLERANCE = 1e-5  # largest difference of a prediction, both in float32: that of the ONNX export
MEMORY_FACTOR = 20  # of the model's file: weights, their copies, and those that Keras makes before it reads them
MEMORY_REMEDY = "export a smaller model, or use a machine with more memory"
UNPACKED_FACTOR, UNPACKED_BASE = 20, 10_000_000  # weights hardly shrink in a zip file, and the description is short
# Raised by Keras, HDF5 and zipfile on files that are no models of ours; none of them documents all.
LOAD_ERRORS = (
    OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, ImportError,
    EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def export(model: str, export_format: str, data: Path, out: Path | None = None) -> tuple[Path, float]:
    """Writes `model` in `export_format`; `data` is the folder of the prepared data that it was trained on.

    Returns:
        The path written, and the largest difference of a prediction from that of Keras.

    Raises:
        InvalidInput: the model or the data cannot be read, or do not belong together; or the path has something else.
        InkflowError: the exported model differs from Keras; nothing was written.
        OutputError: the path cannot be written.
    """
    path = original(find_model(model, "model.keras"))
    check_target(target := out or path.with_name(FORMATS[export_format]), export_format)
    if (onnx_file := readable(path.with_name("model.onnx"))).exists():  # the export names its digest
        check_undamaged(onnx_file)
    training_data = read_training_data(readable(data))
    serving = use_readable(lambda: readable(path), lambda file: _load_serving_model(file, training_data))
    pixels = raw_pixels(np.asarray(training_data.held_out_images(CHECKED_SAMPLES)), training_data.prepared)
    expected = _predictions(path, serving, pixels)
    _check_data_fits(path, data, training_data, pixels, expected)
    metadata = metadata_of(path, training_data.prepared)
    writer = replacing(target) if export_format == "litert" else replacing_folder(target)
    with writer as temporary, _convert_errors(path, export_format):
        write = _write_litert if export_format == "litert" else _write_saved_model
        exported = write(serving, temporary, metadata)
        difference = _difference(exported(pixels), expected)
        if not difference <= TOLERANCE:
            raise InkflowError(
                f"the predictions of the {export_format} export differ by {difference:.2g} from those of Keras, "
                f"expected at most {TOLERANCE:g}; nothing was written: please report the parameters"
            )
    return target, difference


@contextmanager
def _convert_errors(path: Path, export_format: str) -> Iterator[None]:
    """Converts the errors of TensorFlow and of LiteRT's converter to an InkflowError about the model `path`."""
    import tensorflow as tf  # slow, and already imported here
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        yield
    except (tf.errors.OpError, ConverterError) as error:
        raise InkflowError(
            f"{path}: cannot be exported as {export_format} ({_reason(error)}); nothing was written: choose another "
            "--format, or free memory and disk space"
        ) from error


def _load_serving_model(path: Path, data: TrainingData) -> Any:
    """Returns the Keras model from raw pixels to predictions of the network in the file `path`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # both formats are TensorFlow's, whatever backend trained the network
    load_keras()
    from stages.train.export import model_files  # slow, as it imports Keras: after the checks of the input

    network = _load_network(path)
    shape, noun = tuple(network.input_shape[1:]), KINDS[data.prepared.kind].noun
    if shape != tuple(data.prepared.shape):
        raise ModelError(f"{path}: takes {noun}s of shape {shape}, but the data has {data.prepared.shape}")
    with limited_memory(MEMORY_FACTOR * path.stat().st_size, f"the layers of {path}", MEMORY_REMEDY):
        kind = _task_and_output(path, network)
        return model_files.serving_model(network, data.prepared, *kind, _temperature(path))


def _load_network(path: Path) -> Any:
    """Returns the network in the file `path`.

    Raises:
        ModelError: it is not a Keras model with one input and one output.
    """
    import keras  # slow, and already imported here
    import tensorflow as tf

    from stages.train.custom.code import load_registered_code

    size = path.stat().st_size
    try:
        _check_unpacked(path, size)
        with limited_memory(MEMORY_FACTOR * size, f"the layers of {path}", MEMORY_REMEDY), without_cuda_messages():
            load_registered_code(path)
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
            shapes = [("input", network.input_shape), ("output", network.output_shape)]
    except (*LOAD_ERRORS, tf.errors.OpError) as error:
        raise ModelError(f"{path}: is not a Keras model ({_reason(error)}); train it again") from error
    for name, shape in shapes:
        if not isinstance(shape, tuple):
            raise ModelError(f"{path}: has {len(shape)} {name}s, expected one; export another model")
    return network


def _predictions(path: Path, serving: Any, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the predictions of the Keras model in the file `path`, in one batch.

    Raises:
        ModelError: it fails on the data, or needs more than half of the memory of this machine.
    """
    import tensorflow as tf  # slow, and already imported here

    try:
        with limited_memory(share_of_machine(), f"the predictions of {path}", MEMORY_REMEDY):
            return np.asarray(serving.predict(pixels, batch_size=len(pixels), verbose=0))
    except (*LOAD_ERRORS, tf.errors.OpError) as error:
        raise ModelError(f"{path}: fails on the data ({_reason(error)}); train it again") from error


def _reason(error: Exception) -> str:
    return " ".join(remove_controls(str(error)).split())[:200] or type(error).__name__


def _check_unpacked(path: Path, size: int) -> None:
    """Checks that a .keras file of `size` bytes is a zip file that does not unpack to much more.

    Raises:
        ValueError: it is not, or it does.
        OSError: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > UNPACKED_FACTOR * size + UNPACKED_BASE:
        raise ValueError(f"it has {size:,} bytes and unpacks to {unpacked:,}")


def _temperature(path: Path) -> float:
    """Returns the temperature of the ONNX file beside the Keras model `path`; 1 if there is none."""
    onnx_file = readable(path.with_name("model.onnx"))
    doubt = read_doubt(open_session(onnx_file), onnx_file) if onnx_file.exists() else None
    return doubt.temperature if doubt else 1.0


def _task_and_output(path: Path, network: Any) -> tuple[TaskName, OutputName]:
    """Returns task and output of the network in the file `path`; for a single output, the task is in training.json."""
    if recorded := _recorded_output(path):
        return recorded
    inner = next((layer for layer in network.layers if hasattr(layer, "layers")), network)  # of test-time augmentation
    linear = inner.layers[-1].get_config().get("activation") == "linear"
    task: TaskName = "multiclass"
    if network.output_shape[-1] == 1:
        try:
            task = read_record(path.with_name("training.json"), Training).task
        except DataError as error:
            raise ModelError(f"{path}: has one output, so training.json must name its task: {error}") from error
    if task == "regression":
        return task, "linear"  # softplus too: it is a part of the network
    return task, "logits" if linear else OUTPUTS[task][0]


def _recorded_output(path: Path) -> tuple[TaskName, OutputName] | None:
    """Returns task and output from the training.json beside `path`, where it has the output: of own networks."""
    try:
        training = read_record(path.with_name("training.json"), Training)
    except DataError:
        return None
    return (training.task, training.output) if training.output else None


def _check_data_fits(
    path: Path, folder: Path, data: TrainingData, pixels: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    """Checks that the ONNX file beside the model, which was evaluated, predicts on this data the same as Keras.

    Raises:
        InvalidInput: the predictions differ.
    """
    onnx_file = readable(path.with_name("model.onnx"))
    if not onnx_file.exists():
        return
    session = open_model(onnx_file, data.prepared.raw_shape, data.prepared.classes)
    predictions = predict(session, onnx_file, pixels)
    difference = _difference(predictions, expected) if predictions.shape == expected.shape else np.inf
    if not difference <= TOLERANCE:
        raise InvalidInput(
            f"{path}: its predictions with {folder} differ by {difference:.2g} from those of {onnx_file.name}, "
            f"expected at most {TOLERANCE:g}: the data was prepared otherwise than for this model; "
            "run `inkflow run` first"
        )


def _difference(predictions: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Returns the largest difference of a prediction, relative to the largest one where that is above 1."""
    return float(np.abs(predictions - expected).max() / max(1.0, float(np.abs(expected).max())))


def _write_litert(serving: Any, path: Path, metadata: Metadata) -> Predict:
    """Writes LiteRT to the file `path` and returns the function that predicts with it.

    The metadata follow as a zip file, as LiteRT's own metadata tools append files; LiteRT ignores it.
    """
    import tensorflow as tf  # slow, and already imported here

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "exported.tflite")  # Keras writes to this suffix alone
        serving.export(str(exported), "litert", verbose=False)
        path.write_bytes(exported.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in metadata_files(metadata).items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), text)

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            # The interpreter moves to a package of its own; this one does the same.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated", UserWarning)
            interpreter = tf.lite.Interpreter(str(path))
        input_index = interpreter.get_input_details()[0]["index"]
        output_index = interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(input_index, pixels.shape)
        try:
            with without_startup_messages():
                interpreter.allocate_tensors()
        except RuntimeError as error:  # an operation that LiteRT has only together with TensorFlow
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise InkflowError(f"LiteRT cannot run this model ({reason}); choose --format saved_model") from error
        interpreter.set_tensor(input_index, pixels)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output_index))

    return run


def _write_saved_model(serving: Any, folder: Path, metadata: Metadata) -> Predict:
    """Writes a SavedModel with its metadata to `folder` and returns the function that predicts with it."""
    import tensorflow as tf  # slow, and already imported here

    serving.export(str(folder), "tf_saved_model", verbose=False)
    (folder / "assets.extra").mkdir()
    for name, text in metadata_files(metadata).items():
        (folder / "assets.extra" / name).write_text(text, encoding="utf-8")
    loaded = tf.saved_model.load(str(folder))
    return lambda pixels: np.asarray(loaded.serve(pixels))
