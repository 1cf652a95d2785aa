"""Runs an ONNX model of any origin with ONNX Runtime: validates its inputs, outputs and predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from stages.base.errors import ModelError
from stages.model.tasks import Task

REMEDY = "train the model again: python -m stages.train"
FATAL = 4  # log level of ONNX Runtime; lesser errors are raised as exceptions
SUM_TOLERANCE = 1e-3  # of the sum of a sample's probabilities

# ONNX Runtime's exceptions have no common base but Exception.
RUNTIME_ERRORS = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoModel,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


def open_model(path: Path, image_shape: Sequence[int], classes: int) -> Any:
    """Returns an ONNX Runtime session of the file `path`, for images of `image_shape` and `classes` classes.

    Raises:
        ModelError: the file cannot be read, or its model does not fit the data.
    """
    session = open_session(path)
    _check_tensor(path, "input", session.get_inputs(), tuple(image_shape))
    task = read_task(session, path)
    if any(label >= classes for label in task.positive) or len(task.values) not in (0, classes):
        raise ModelError(f"{path}: was trained for other labels than the {classes} of the data set; {REMEDY}")
    _check_tensor(path, "output", session.get_outputs(), (task.output_width(classes),))
    return session


def open_session(path: Path) -> Any:
    """Returns an ONNX Runtime session of the file `path`, for any model.

    Raises:
        ModelError: the file cannot be read, or is not an ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would occupy the cores
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: is not a valid ONNX model ({_first_line(error)}); {REMEDY}") from error


def read_task(session: Any, path: Path) -> Task:
    """Returns the task in the metadata of the model of `path`; multi-class if there is none.

    Raises:
        ModelError: the metadata is invalid.
    """
    try:
        return Task.from_metadata(session.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise ModelError(f"{path}: has invalid metadata ({error}); {REMEDY}") from error


def predict(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the predictions of the model of `path` for raw `pixels` (n, *image_shape).

    Returns:
        Probabilities (n, classes), or values (n, 1) of a regression.

    Raises:
        ModelError: the model fails, or its outputs are not valid predictions.
    """
    if read_task(session, path).kind == "regression":
        return predict_values(session, path, pixels)
    return predict_probabilities(session, path, pixels)


def predict_values(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the values (n, 1) that the model of `path` predicts for raw `pixels` (n, *image_shape).

    Raises:
        ModelError: the model fails, or its outputs are not finite numbers.
    """
    values = _run(session, path, pixels)
    if values.shape != (len(pixels), 1) or not np.isfinite(values).all():
        raise ModelError(
            f"{path}: gives values of shape {values.shape} for {len(pixels)} images, "
            f"not all of them finite, expected one finite number for each image; {REMEDY}"
        )
    return values


def predict_probabilities(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the probabilities (n, classes) that the model of `path` predicts for raw `pixels` (n, *image_shape).

    Raises:
        ModelError: the model fails, or its outputs are not probabilities.
    """
    probabilities = _run(session, path, pixels)
    if len(probabilities) != len(pixels) or not _are_probabilities(probabilities):
        raise ModelError(
            f"{path}: gives values of shape {probabilities.shape} for {len(pixels)} images, "
            f"not all of them probabilities, expected values from 0 to 1 with the sum 1 for each image; {REMEDY}"
        )
    return probabilities


def _run(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    try:
        result = session.run(None, {session.get_inputs()[0].name: pixels.astype(np.float32)})[0]
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: fails on images ({_first_line(error)}); {REMEDY}") from error
    return np.asarray(result, np.float32)


def _are_probabilities(values: NDArray[np.float32]) -> bool:
    sums = values.sum(axis=1, dtype=np.float64)  # NaN if a value is NaN
    return bool((values >= 0).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all())


def _check_tensor(path: Path, kind: str, tensors: Sequence[Any], shape: tuple[int, ...]) -> None:
    """Checks that the model has one input (or output) of float32 (batch, *shape); its sizes may be open.

    Raises:
        ModelError: it has others.
    """
    sizes = ", ".join(map(str, shape))
    expected = f"expected one of float32 (batch, {sizes}) for this data set"
    if len(tensors) != 1 or tensors[0].type != "tensor(float)":
        types = ", ".join(f"{tensor.name}: {tensor.type}" for tensor in tensors) or "none"
        raise ModelError(f"{path}: has the {kind}s {types}, {expected}; {REMEDY}")
    model_shape = tensors[0].shape
    if not _shape_fits(model_shape, shape):
        sizes = ", ".join(map(str, model_shape))
        raise ModelError(f"{path}: has an {kind} of shape ({sizes}), {expected}; {REMEDY}")


def _shape_fits(model_shape: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    """Returns whether `model_shape` allows (batch, *shape); a name or None in it allows any size."""
    if len(model_shape) != len(shape) + 1 or isinstance(model_shape[0], int):
        return False
    pairs = zip(model_shape[1:], shape, strict=True)
    return all(not isinstance(allowed, int) or allowed == size for allowed, size in pairs)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
