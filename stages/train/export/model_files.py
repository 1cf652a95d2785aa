"""Writing a trained network: equal weights, equal bytes; what ships does what was trained."""

import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from stages.base.errors import InkflowError
from stages.base.files import canonical_zip
from stages.model.compatibility import OutputName, TaskName
from stages.model.config import ModelBase
from stages.model.tasks import CLASS_NAMES, PIXELS, task_of
from stages.samples.prepared import Prepared, raw_pixels
from stages.train.export.canonical_onnx import canonical_onnx

OPSET = 15  # of ONNX: held, so that another tf2onnx gives the same operations
TOLERANCE = 1e-5  # largest difference of a probability between Keras and ONNX, both in float32
ROUNDING = 0.05  # largest difference of outputs between bfloat16 (8 bits: 0.004 an operation) and float32, as a share
NEVER = "1980-01-01@00:00:00"  # Keras's format


class Answering(Protocol):
    """What must be known of a model to turn the result of its network into answers."""

    @property
    def task(self) -> TaskName: ...  # noqa: D102

    @property
    def output(self) -> OutputName: ...  # noqa: D102


def save_keras(network: Any, path: Path) -> None:
    """Write `network` as a .keras file without what differs from one run to the next."""
    with tempfile.TemporaryDirectory() as folder:
        saved, neutral = Path(folder, "saved.keras"), Path(folder, "neutral.keras")
        network.save(saved)
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(neutral, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, _neutral(content) if name.endswith(".json") else content)
        canonical_zip(neutral, path)


def save_onnx(network: Any, prepared: Prepared, model: ModelBase, path: Path) -> None:
    """Write `network`, trained as `model` says, as ONNX: `pixels` (batch, *raw_shape) to what `serving` gives."""
    signature = [keras.InputSpec(shape=(None, *prepared.raw_shape), dtype="float32", name="pixels")]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras's patch of tf2onnx asks NumPy for an alias that NumPy 2 warns of.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        exported = Path(folder, "exported.onnx")
        serving(network, prepared, model).export(
            str(exported), "onnx", verbose=False, input_signature=signature, opset_version=OPSET
        )
        named = canonical_onnx(onnx.load(exported), task_of(model), about(prepared))
    path.write_bytes(named.SerializeToString(deterministic=True))


def about(prepared: Prepared) -> dict[str, str]:
    """What a model carries of its data set, for those who have nothing but the model: names, range of pixels."""
    found = {PIXELS: json.dumps(prepared.pixels.model_dump())}
    return found | ({CLASS_NAMES: json.dumps(prepared.class_names)} if prepared.class_names else {})


def serving(network: Any, prepared: Prepared, model: Answering) -> Any:
    """Keras model from raw pixels (n, *raw_shape) to the answers by `network`.

    Answers are probabilities (n, classes), of two_class (n, 2) with that of the positive class last, of a regression
    values (n, 1). Scores of a hinge loss become probabilities as logits do: their order holds, their size is a guess.
    """
    crop, (height, width) = prepared.crop, prepared.raw_shape[:2]
    pixels = keras.Input(prepared.raw_shape, name="pixels")
    inside = pixels[:, crop.top : height - crop.bottom, crop.left : width - crop.right]
    normalised = (inside - prepared.offset) / prepared.scale
    result = network(keras.layers.Reshape(prepared.shape)(normalised))
    return keras.Model(pixels, _answers(result, model, keras.ops), name="serving")


def _answers(result: Any, model: Answering, ops: Any) -> Any:
    """Answers from the `result` of a network; `ops` are Keras's, or _Float64."""
    if model.task == "multiclass" and model.output == "logits":
        return ops.softmax(result)
    if model.task == "two_class":
        positive = ops.sigmoid(result) if model.output == "logits" else result
        return ops.concatenate([1 - positive, positive], axis=1)
    return result


class _Float64:
    """What `_answers` needs, in NumPy: an independent computation to compare the export with."""

    concatenate = staticmethod(np.concatenate)

    @staticmethod
    def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    @staticmethod
    def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        probabilities: NDArray[np.float64] = 0.5 * (1 + np.tanh(scores / 2))
        return probabilities


def check_agreement(
    network: Any, path: Path, images: NDArray[np.float32], prepared: Prepared, model: ModelBase
) -> float:
    """Largest difference of an answer between `network` and its ONNX, on prepared `images`.

    ONNX gets the raw pixels, so that its own preparation is compared with the prepare stage's too. Differences of
    values are taken relative to the largest of them, where that is above 1.

    Raises:
        InkflowError: the difference is above TOLERANCE.
    """
    result = _outputs(network, images)
    trained, output = _answers(result, model, _Float64), task_of(model).output
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    exported = session.run([output], {"pixels": raw_pixels(images, prepared)})[0]
    difference = float(np.abs(exported - trained).max() / max(1.0, np.abs(trained).max()))
    if not difference <= TOLERANCE:
        raise InkflowError(
            f"the exported ONNX model gives {output} {difference:.2g} off those of Keras, "
            f"expected at most {TOLERANCE:g}; nothing was written: please report the parameters"
        )
    return difference


def check_rounding(trained: Any, shipped: Any, images: NDArray[np.float32]) -> float:
    """Difference between what was trained in bfloat16 and what ships in float32, as a share of the outputs (RMS).

    Raises:
        InkflowError: the share is above ROUNDING.
    """
    rough, fine = (_outputs(network, images) for network in (trained, shipped))
    share = float(np.sqrt(np.mean((rough - fine) ** 2) / max(float(np.mean(fine**2)), 1e-30)))
    if not share <= ROUNDING:
        raise InkflowError(
            f"in float32 the model's outputs differ by {share:.2g} of their size from those in bfloat16, expected at "
            f"most {ROUNDING:g}; nothing was written: choose `precision: float32`"
        )
    return share


def _outputs(network: Any, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """What `network` gives for `images`; Keras's predict would load TensorFlow's data pipeline on any backend."""
    found: NDArray[np.float64] = np.asarray(keras.ops.convert_to_numpy(network(images, training=False)), np.float64)
    return found


def _neutral(content: bytes) -> bytes:
    """JSON of a .keras file with sorted keys, no date, and numbers instead of memory addresses."""
    addresses: dict[int, int] = {}

    def neutral(part: dict[str, Any]) -> dict[str, Any]:
        if "date_saved" in part:
            part["date_saved"] = NEVER
        if "shared_object_id" in part:  # says which objects are one and the same
            address = part["shared_object_id"]
            part["shared_object_id"] = addresses.setdefault(address, len(addresses))
        return part

    return json.dumps(json.loads(content, object_hook=neutral), sort_keys=True).encode()
