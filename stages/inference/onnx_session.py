"""Runs an ONNX model of any origin with ONNX Runtime: validates its inputs, outputs and predictions."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from stages.base.errors import ModelError, raise_fault
from stages.base.shown_text import remove_controls
from stages.data.memory import limited_memory, share_of_machine
from stages.model.doubt import UNLIKENESS, Doubt
from stages.model.tasks import Task

REMEDY = "train the model again: python -m stages.train"
FATAL = 4  # log level of ONNX Runtime; lesser errors are raised as exceptions
LARGEST = float(np.finfo(np.float32).max)
SUM_TOLERANCE = 1e-3  # of the sum of a sample's probabilities
MAX_BYTES = 1 << 31  # of a model file: protobuf's own limit
RUN_S, RUN_S_PER_IMAGE = 20.0, 1.0  # time limit of a run: far above that of any model, even on a busy machine
POLL_S = 0.5
MEMORY_FACTOR = 20  # of the model's file, while it is opened
MEMORY_REMEDY = "use a smaller model, or a machine with more memory"
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"

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
    runtime.EPFail,
    # Raised by its Python code, and by NumPy, on models of other inputs and outputs, and on texts that are not UTF-8.
    ValueError,
    TypeError,
    LookupError,
    MemoryError,
)


class NoPrediction(ModelError):
    """The outputs have the right shape, but not for all samples the right values; `right` (n,) says for which."""

    def __init__(self, message: str, right: NDArray[np.bool_]) -> None:
        super().__init__(message)
        self.right = right


class _Watchdog:
    """Stops runs that exceed their time limit. One thread watches all runs: one for each would slow short runs."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, seconds: float) -> Iterator[Any]:
        """Yields options for a run of ONNX Runtime within the block, which is stopped after `seconds`."""
        options = onnxruntime.RunOptions()
        self._runs[id(options)] = time.monotonic() + seconds, options
        if self._thread is None or not self._thread.is_alive():  # a fork has no thread
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        try:
            yield options
        finally:
            del self._runs[id(options)]

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_S)
            for end, options in list(self._runs.values()):
                if time.monotonic() > end:
                    options.terminate = True


_watchdog = _Watchdog()


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
    _check_tensor(path, "output", prediction_outputs(session), (task.output_width(classes),))
    return session


def prediction_outputs(session: Any) -> list[Any]:
    """Returns the outputs of the model without the unlikeness; a model of this project has one."""
    outputs: list[Any] = session.get_outputs()
    return outputs[:1] if len(outputs) == 2 and outputs[1].name == UNLIKENESS else outputs


def open_session(path: Path) -> Any:
    """Returns an ONNX Runtime session of the file `path`, for any model.

    Raises:
        ModelError: the file cannot be read, or is not an ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would occupy the cores
    try:
        # Without it, data outside of the model's file are read from the current folder.
        options.add_session_config_entry(EXTERNAL_FOLDER, str(path.absolute().parent))
        content = _read_bytes(path)
        with limited_memory(MEMORY_FACTOR * len(content), str(path), MEMORY_REMEDY):  # constants are computed here
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        _ = session.get_modelmeta().custom_metadata_map, session.get_inputs(), session.get_outputs()  # decodes texts
        return session
    except OSError as error:
        raise_fault(error)
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: is not a valid ONNX model ({_first_line(error)}); {REMEDY}") from error


def _read_bytes(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"it has {size:,} bytes, expected at most {MAX_BYTES:,}")
    return path.read_bytes()


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
        ModelError: the model fails, or its outputs are not finite numbers (NoPrediction).
    """
    values = _run(session, path, pixels, session.get_outputs()[:1])[0]
    message = (
        f"{path}: gives values of shape {values.shape} for {len(pixels)} images, "
        f"not all of them finite, expected one finite number for each image; {REMEDY}"
    )
    if values.shape != (len(pixels), 1):
        raise ModelError(message)
    if not (right := np.isfinite(values[:, 0])).all():
        raise NoPrediction(message, right)
    return values


def predict_probabilities(session: Any, path: Path, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the probabilities (n, classes) that the model of `path` predicts for raw `pixels` (n, *image_shape).

    Raises:
        ModelError: the model fails, or its outputs are not probabilities (NoPrediction).
    """
    return _checked_probabilities(path, pixels, _run(session, path, pixels, session.get_outputs()[:1])[0])


def predict_with_unlikeness(
    session: Any, path: Path, pixels: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the probabilities (n, classes) and the unlikeness (n,) for raw `pixels` (n, *image_shape).

    An infinite unlikeness, as the square of a large number is one, becomes the largest number: JSON has no infinity. So
    does NaN, the difference of two such squares.

    Raises:
        ModelError: the model fails, its outputs are not probabilities (NoPrediction), or it gives no unlikeness.
    """
    outputs = session.get_outputs()
    ports = [outputs[0], *(port for port in outputs[1:] if port.name == UNLIKENESS)]
    results = _run(session, path, pixels, ports)
    if len(results) != 2 or results[1].shape != (len(pixels), 1):
        got = f"values of shape {results[1].shape}" if len(results) == 2 else "none"
        raise ModelError(f"{path}: gives {got} as {UNLIKENESS}, expected one number for each image; {REMEDY}")
    unlikeness = np.nan_to_num(results[1][:, 0], nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)
    return _checked_probabilities(path, pixels, results[0]), unlikeness


def read_doubt(session: Any, path: Path) -> Doubt | None:
    """Returns the thresholds of doubt in the metadata of the model of `path`; None for a model without them.

    Raises:
        ModelError: the metadata is invalid.
    """
    try:
        return Doubt.from_metadata(session.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise ModelError(f"{path}: has invalid metadata ({error}); {REMEDY}") from error


def _checked_probabilities(path: Path, pixels: NDArray[Any], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    message = (
        f"{path}: gives values of shape {probabilities.shape} for {len(pixels)} images, "
        f"not all of them probabilities, expected values from 0 to 1 with the sum 1 for each image; {REMEDY}"
    )
    if probabilities.ndim != 2 or len(probabilities) != len(pixels):
        raise ModelError(message)
    if not (right := _are_probabilities(probabilities)).all():
        raise NoPrediction(message, right)
    return probabilities


def _run(session: Any, path: Path, pixels: NDArray[Any], ports: Sequence[Any]) -> list[NDArray[np.float32]]:
    """Returns the outputs `ports` of the model; it computes no others."""
    limit_s, inputs = RUN_S + RUN_S_PER_IMAGE * len(pixels), pixels.astype(np.float32)
    with _watchdog.limit(limit_s) as options, limited_memory(share_of_machine(), str(path), MEMORY_REMEDY):
        try:
            results = session.run([port.name for port in ports], {session.get_inputs()[0].name: inputs}, options)
            values = [np.asarray(result, np.float32) for result in results]
        except MemoryError:  # `limited_memory` says what to do
            raise
        except RUNTIME_ERRORS as error:
            reason = f"stopped after {limit_s:g} s" if options.terminate else _first_line(error)
            raise ModelError(f"{path}: fails on images ({reason}); {REMEDY}") from error
    for port, value in zip(ports, values, strict=True):
        declared = port.shape[1:]
        is_declared = len(declared) == value.ndim - 1 and all(
            size == side or not isinstance(size, int) for size, side in zip(declared, value.shape[1:], strict=False)
        )
        if not is_declared:  # ONNX Runtime itself only logs it
            raise ModelError(f"{path}: gives values of shape {value.shape}, but declares (batch, {declared}); {REMEDY}")
    return values


def _are_probabilities(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns for each row of `values` (n, classes) whether its values are probabilities."""
    sums = values.sum(axis=1, dtype=np.float64)  # NaN if a value is NaN
    return np.asarray((values >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE))


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
    return remove_controls(str(error).partition("\n")[0])[:200]
