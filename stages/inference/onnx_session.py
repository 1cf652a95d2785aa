"""Running an exported model with ONNX Runtime, whoever made it: nothing it says goes unchecked."""

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
QUIET = 4  # log level of ONNX Runtime: fatal errors alone, as the others come as exceptions
SUM_TOLERANCE = 1e-3  # of the sum of a sample's probabilities

# ONNX Runtime's exceptions have no common base but Exception.
FAILURES = (
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
    """ONNX Runtime session of the file `path`, for images of `image_shape` and as many `classes`.

    Raises:
        ModelError: the file cannot be read, or is of a model for other data.
    """
    session = open_session(path)
    _check_port(path, "input", session.get_inputs(), tuple(image_shape))
    task = task_in(session, path)
    if any(label >= classes for label in task.positive) or len(task.values) not in (0, classes):
        raise ModelError(f"{path}: was trained for other labels than the {classes} of the data set; {REMEDY}")
    _check_port(path, "output", session.get_outputs(), (task.width(classes),))
    return session


def open_session(path: Path) -> Any:
    """ONNX Runtime session of the file `path`, whatever model it holds.

    Raises:
        ModelError: the file cannot be read, or is no ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would take the cores
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    except FAILURES as error:
        raise ModelError(f"{path}: is not a valid ONNX model ({_first_line(error)}); {REMEDY}") from error


def task_in(session: Any, path: Path) -> Task:
    """The task that the model of `path` says it was trained for; multi-class when it says nothing.

    Raises:
        ModelError: it says what nobody understands.
    """
    try:
        return Task.from_metadata(session.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise ModelError(f"{path}: its metadata cannot be understood ({error}); {REMEDY}") from error


def answer(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities (n, classes), or values (n, 1) of a regression, of the model of `path` for raw `pixels`.

    Raises:
        ModelError: the model fails, or says what it should not.
    """
    if task_in(session, path).kind == "regression":
        return values_of(session, path, pixels)
    return probabilities_of(session, path, pixels)


def values_of(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Values (n, 1) that the model of `path` predicts for raw `pixels` (n, *image_shape).

    Raises:
        ModelError: the model fails, or what it says are not numbers.
    """
    values = _run(session, path, pixels)
    if values.shape != (len(pixels), 1) or not np.isfinite(values).all():
        raise ModelError(
            f"{path}: gives values of shape {values.shape} for {len(pixels)} images, "
            f"not all of them finite, expected one number for each; {REMEDY}"
        )
    return values


def probabilities_of(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities (n, classes) that the model of `path` gives for raw `pixels` (n, *image_shape).

    Raises:
        ModelError: the model fails, or what it says are not probabilities.
    """
    probabilities = _run(session, path, pixels)
    if len(probabilities) != len(pixels) or not _are_probabilities(probabilities):
        raise ModelError(
            f"{path}: gives values of shape {probabilities.shape} for {len(pixels)} images, "
            f"not all of them probabilities, expected 0 to 1 with the sum 1 for each; {REMEDY}"
        )
    return probabilities


def _run(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    try:
        result = session.run(None, {session.get_inputs()[0].name: pixels.astype(np.float32)})[0]
    except FAILURES as error:
        raise ModelError(f"{path}: fails on images ({_first_line(error)}); {REMEDY}") from error
    return np.asarray(result, np.float32)


def _are_probabilities(values: NDArray[np.float32]) -> bool:
    sums = values.sum(axis=1, dtype=np.float64)  # not a number where a value is not
    return bool((values >= 0).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all())


def _check_port(path: Path, kind: str, ports: Sequence[Any], shape: tuple[int, ...]) -> None:
    """See that the model has one input (or output) of float32 (batch, *shape), or of open sizes."""
    sizes = ", ".join(map(str, shape))
    expected = f"expected one of float32 (batch, {sizes}), as the data set has it"
    if len(ports) != 1 or ports[0].type != "tensor(float)":
        got = ", ".join(f"{port.name}: {port.type}" for port in ports) or "none"
        raise ModelError(f"{path}: has the {kind}s {got}, {expected}; {REMEDY}")
    found = ports[0].shape
    if not _fits(found, shape):
        sizes = ", ".join(map(str, found))
        raise ModelError(f"{path}: has an {kind} of shape ({sizes}), {expected}; {REMEDY}")


def _fits(found: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    """Whether (batch, *shape) is what a model says, in which a name or None allows any size."""
    if len(found) != len(shape) + 1 or isinstance(found[0], int):
        return False
    pairs = zip(found[1:], shape, strict=True)
    return all(not isinstance(allowed, int) or allowed == size for allowed, size in pairs)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
