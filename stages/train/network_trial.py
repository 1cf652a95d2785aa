"""Tries an untrained network of own code before its training: outputs on a few images, and both of its files."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InkflowError, InvalidInput
from stages.model.config import CustomModel
from stages.samples.prepared import TrainingData
from stages.train.export import model_files, onnx_subprocess

CHECKED = 8  # images on which the untrained network is tried
SUM_TOLERANCE = 1e-2  # of probabilities, also in bfloat16


def check_network(name: str, network: Any, model: CustomModel, data: TrainingData) -> None:
    """Tries an untrained own network: its output on some images, its files.

    A file model.keras that cannot be loaded again becomes a warning on standard error: model.onnx is enough to predict.

    Raises:
        InvalidInput: the output is not finite or is not what `output` says, or ONNX has no form of the network.
    """
    images = data.train.images[:CHECKED]
    result = np.asarray(keras.ops.convert_to_numpy(network(images, training=False)), np.float64)
    if mistake := _output_mistake(model, result):
        raise InvalidInput(f"models.{name}: `build: {model.build}` returns a model {mistake}")
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "tried.keras"), Path(folder, "tried.onnx")
        _check_keras_file(name, network, model.build, paths[0])
        try:
            if keras.backend.backend() == "tensorflow":
                model_files.save_onnx(network, data.prepared, model, paths[1])
            else:
                onnx_subprocess.save_onnx(paths[0], data.prepared, model, paths[1], None)
            model_files.check_agreement(network, paths[1], images, data.prepared, model)
        except Exception as error:  # of tf2onnx, Keras or ONNX Runtime, each with exceptions of its own
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            own = reason if isinstance(error, InkflowError) else f"{type(error).__name__}: {reason}"
            raise InvalidInput(
                f"models.{name}: the network of `build: {model.build}` cannot be exported as ONNX ({own}); use layers "
                "and operations of Keras that ONNX has"
            ) from error


def _check_keras_file(name: str, network: Any, build: str, path: Path) -> None:
    """Checks that the network can be saved as a .keras file; warns if it cannot be loaded from it."""
    advice = "put @keras.saving.register_keras_serializable() above each class of your own, and give it get_config"
    try:
        model_files.save_keras(network, path)
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(
            f"models.{name}: `build: {build}` returns a model that Keras cannot save ({reason}...); {advice}"
        ) from error
    try:
        keras.saving.load_model(path, compile=False)
    except Exception as error:  # noqa: BLE001 - own classes raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        print(
            f"warning: models.{name}: model.keras cannot be loaded again, as by `inkflow export` ({reason}...); "
            f"{advice}, "
            "or use model.onnx, which needs neither",
            file=sys.stderr,
            flush=True,
        )


def _output_mistake(model: CustomModel, result: NDArray[np.float64]) -> str | None:
    """Returns what is wrong with the outputs (n, k) of an untrained network, as the end of a sentence; else None."""
    if not np.isfinite(result).all():
        return f"whose output is not finite on the first {len(result)} training images; correct it"
    sums, low, high = result.sum(axis=1), float(result.min()), float(result.max())
    shares = low >= 0 and high <= 1 + SUM_TOLERANCE
    distribution = shares and bool(np.allclose(sums, 1, atol=SUM_TOLERANCE))
    if model.output == "softmax" and not distribution:
        return (
            f"whose outputs are no probabilities (from {low:.3g} to {high:.3g}, with the sum {sums[0]:.3g}); end it "
            "with a softmax, or choose `output: logits`"
        )
    if model.output == "sigmoid" and not shares:
        return f"whose output is {low:.3g}, no probability; end it with a sigmoid, or choose `output: logits`"
    if model.output == "softplus" and low < 0:
        return f"whose output is {low:.3g}, expected 0 or more; end it with a softplus, or choose `output: linear`"
    if model.output == "logits" and result.shape[1] > 1 and distribution:
        return "whose outputs are probabilities already; leave out the softmax, or choose `output: softmax`"
    return None
