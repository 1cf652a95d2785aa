"""Writes a trained network as Keras and ONNX files, and checks that they compute the same as the network."""

import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from stages.base.errors import InkflowError
from stages.base.files import canonical_zip
from stages.model.compatibility import OutputName, TaskName
from stages.model.config import ModelBase
from stages.model.doubt import METADATA as DOUBT
from stages.model.doubt import UNLIKENESS
from stages.model.reference import METADATA as REFERENCE
from stages.model.tasks import CLASS_NAMES, KIND, PICTURE_FORM, PIXELS, STAND_IN, VOCABULARY, task_of
from stages.samples.prepared import Prepared, float32_constant, normalise, raw_pixels
from stages.train.doubt.measurement import MeasuredDoubt, Outputs, as_arrays, outputs_of
from stages.train.doubt.unlikeness import Unlikeness
from stages.train.export.canonical_onnx import canonical_onnx

OPSET = 15  # of ONNX: fixed, so that another version of tf2onnx gives the same operations
UNLIKENESS_TOLERANCE = 1e-3  # the same of the unlikeness, relative: a difference of large numbers
TOLERANCE = 1e-5  # largest difference of a probability between Keras and ONNX, both in float32
ROUNDING_TOLERANCE = 0.05  # of the outputs in bfloat16, relative to float32; one operation has 8 bits: 0.004
FIXED_DATE = "1980-01-01@00:00:00"  # in Keras's format


class UnlikenessDiffers(InkflowError):
    """The unlikeness of an ONNX model differs from that of the trained network; its predictions agree."""

    def __init__(self, difference: float) -> None:
        super().__init__(
            f"the unlikeness of the exported ONNX model differs by {difference:.2g} from that of Keras, expected at "
            f"most {UNLIKENESS_TOLERANCE:g}"
        )


def save_keras(network: Any, path: Path) -> None:
    """Writes `network` as a .keras file without dates and memory addresses, which differ from run to run."""
    with tempfile.TemporaryDirectory() as folder:
        saved, normalised = Path(folder, "saved.keras"), Path(folder, "normalised.keras")
        network.save(saved)
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(normalised, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, _normalise_json(content) if name.endswith(".json") else content)
        canonical_zip(normalised, path)


def save_onnx(
    network: Any, prepared: Prepared, model: ModelBase, path: Path, doubt: MeasuredDoubt | None = None
) -> None:
    """Writes the serving model of `network`, trained as `model`, as ONNX with the input `pixels` (batch, *raw_shape).

    For other samples than images the input is called `samples`. The output is called `probabilities` or `values`; a
    further one is the `unlikeness`. See `serving_model`.
    """
    signature = [keras.InputSpec(shape=(None, *prepared.raw_shape), dtype="float32", name=prepared.input_name)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras's patch of tf2onnx uses an alias that NumPy 2 warns about.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        exported = Path(folder, "exported.onnx")
        temperature = doubt.calibration.temperature if doubt else 1.0
        serving = serving_model(network, prepared, model.task, model.output, temperature, doubt and doubt.unlikeness)
        serving.export(str(exported), "onnx", verbose=False, input_signature=signature, opset_version=OPSET)
        metadata = dataset_metadata(prepared) | ({DOUBT: doubt.doubt.to_json()} if doubt else {})
        metadata |= {REFERENCE: doubt.reference.to_json()} if doubt and doubt.reference else {}
        canonical = canonical_onnx(onnx.load(exported), task_of(model), metadata, prepared.input_name)
    path.write_bytes(canonical.SerializeToString(deterministic=True))


def dataset_metadata(prepared: Prepared) -> dict[str, str]:
    """Returns the facts of the data set that an ONNX model carries: pixels or kind, class names, what it stands for.

    Pictures that do not have MNIST's form have an entry that says so.
    """
    if prepared.kind == "image":
        metadata = {PIXELS: json.dumps(prepared.pixels.model_dump())}
        metadata |= {PICTURE_FORM: prepared.picture_form.model_dump_json()} if prepared.picture_form else {}
    else:
        metadata = {KIND: json.dumps(prepared.kind)}
        metadata |= {VOCABULARY: json.dumps(prepared.vocabulary)} if prepared.vocabulary else {}
    metadata |= {STAND_IN: json.dumps(prepared.stand_in_for)} if prepared.stand_in_for else {}
    return metadata | ({CLASS_NAMES: json.dumps(prepared.class_names)} if prepared.class_names else {})


def serving_model(
    network: Any,
    prepared: Prepared,
    task: TaskName,
    output: OutputName,
    temperature: float = 1.0,
    unlikeness: Unlikeness | None = None,
) -> Any:
    """Returns a Keras model from raw samples (n, *raw_shape) to predictions; `output` is what `network` gives.

    Predictions are probabilities (n, classes), for two_class (n, 2) with the positive class last, or for a regression
    values (n, 1). Logits are divided by the `temperature`. Scores of a hinge loss are treated as logits. With
    `unlikeness`, that of the images (n, 1) is a second output.
    """
    samples = keras.Input(prepared.raw_shape, name=prepared.input_name)
    inputs = _network_input(samples, prepared)
    outputs = outputs_of(network, task, inputs) if unlikeness or temperature != 1 else Outputs(network(inputs))
    predictions = _predictions(outputs, task, output, keras.ops, temperature)
    if unlikeness is None:
        return keras.Model(samples, predictions, name="serving")
    measured = unlikeness.measure(outputs.features, outputs.logits, keras.ops)
    return keras.Model(samples, [predictions, measured], name="serving")


def _network_input(samples: Any, prepared: Prepared) -> Any:
    """Returns the input of a network from raw `samples`, as the stage `prepare` computes it."""
    if prepared.kind == "tokens":
        return samples
    if prepared.kind != "image":
        return (samples - float32_constant(prepared.offset)) / float32_constant(prepared.scale)
    crop, (height, width) = prepared.crop, prepared.raw_shape[:2]
    inside = samples[:, crop.top : height - crop.bottom, crop.left : width - crop.right]
    return keras.layers.Reshape(prepared.shape)((inside - prepared.offset) / prepared.scale)


def _predictions(outputs: Outputs, task: TaskName, output: OutputName, ops: Any, temperature: float) -> Any:
    """Returns predictions from the `outputs` of a network; `ops` is keras.ops or _NumpyOps."""
    result = outputs.result
    if temperature != 1:
        return ops.softmax(outputs.to_calibrate(task, output, ops) / temperature)
    if task == "multiclass" and output == "logits":
        return ops.softmax(result)
    if task == "two_class":
        positive = ops.sigmoid(result) if output == "logits" else result
        return ops.concatenate([1 - positive, positive], axis=1)
    return result


class _NumpyOps:
    """The operations of `_predictions` in NumPy: an independent computation to compare the ONNX model with."""

    concatenate = staticmethod(np.concatenate)
    log, maximum = staticmethod(np.log), staticmethod(np.maximum)

    @staticmethod
    def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    @staticmethod
    def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        probabilities: NDArray[np.float64] = 0.5 * (1 + np.tanh(scores / 2))
        return probabilities


def check_agreement(
    network: Any,
    path: Path,
    images: NDArray[np.float32],
    prepared: Prepared,
    model: ModelBase,
    doubt: MeasuredDoubt | None = None,
) -> float:
    """Returns the largest difference of a prediction between `network` and its ONNX file, on prepared `images`.

    The ONNX model gets raw samples, so that its preparation is compared with that of the prepare stage. The difference
    is relative to the largest prediction where that is above 1.

    Raises:
        InkflowError: the difference is above TOLERANCE.
        UnlikenessDiffers: that of the unlikeness alone is above UNLIKENESS_TOLERANCE.
    """
    raw = raw_pixels(images, prepared)
    if prepared.kind != "image":  # raw features are rounded, much where their mean is far from 0
        images = normalise(raw, prepared.offset, prepared.scale)
    temperature, unlikeness = (doubt.calibration.temperature, doubt.unlikeness) if doubt else (1.0, None)
    outputs = as_arrays(outputs_of(network, model.task, images))
    trained = {task_of(model).output: _predictions(outputs, model.task, model.output, _NumpyOps, temperature)}
    tolerance = TOLERANCE / min(1.0, temperature)
    if unlikeness:
        trained[UNLIKENESS] = unlikeness.measure(outputs.features, outputs.logits, np)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    exported = session.run(list(trained), {prepared.input_name: raw})
    difference, *of_unlikeness = (
        float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
        for got, expected in zip(exported, trained.values(), strict=True)
    )
    if not difference <= tolerance:
        raise InkflowError(
            f"the {task_of(model).output} of the exported ONNX model differ by {difference:.2g} from those of Keras, "
            f"expected at most {tolerance:g}; nothing was written: please report the parameters"
        )
    if of_unlikeness and not of_unlikeness[0] <= UNLIKENESS_TOLERANCE:
        raise UnlikenessDiffers(of_unlikeness[0])
    return difference


def check_rounding(trained: Any, exported: Any, images: NDArray[np.float32]) -> float:
    """Returns the difference of the outputs of `trained`, in bfloat16, and `exported`, in float32 (relative RMS).

    Raises:
        InkflowError: the difference is above ROUNDING_TOLERANCE.
    """
    rough, exact = (_outputs(network, images) for network in (trained, exported))
    difference = float(np.sqrt(np.mean((rough - exact) ** 2) / max(float(np.mean(exact**2)), 1e-30)))
    if not difference <= ROUNDING_TOLERANCE:
        raise InkflowError(
            f"the model's outputs in float32 differ from those in bfloat16 by {difference:.2g} of their size, expected "
            f"at most {ROUNDING_TOLERANCE:g}; nothing was written: choose `precision: float32`"
        )
    return difference


def _outputs(network: Any, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the outputs of `network`; Keras's predict would load TensorFlow's data pipeline on any backend."""
    return np.asarray(keras.ops.convert_to_numpy(network(images, training=False)), np.float64)


def _normalise_json(content: bytes) -> bytes:
    """Returns JSON of a .keras file with sorted keys, a fixed date, and numbers in place of memory addresses."""
    numbers: dict[int, int] = {}

    def normalise(entry: dict[str, Any]) -> dict[str, Any]:
        if "date_saved" in entry:
            entry["date_saved"] = FIXED_DATE
        if "shared_object_id" in entry:  # equal for references to one object
            entry["shared_object_id"] = numbers.setdefault(entry["shared_object_id"], len(numbers))
        return entry

    return json.dumps(json.loads(content, object_hook=normalise), sort_keys=True).encode()
