"""Classifies images with an exported model alone: needs onnxruntime and numpy, not Inkflow.

python examples/classify.py models/dense/model.onnx images.npy
python examples/classify.py models/dense/model.onnx data/raw/dataset.npz x_test

The images have the form of the training data, such as (n, 28, 28) with values from 0 to 255. The model scales them
itself; its metadata has the names of the classes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

SHOWN = 10


def load(path: str, array: str) -> np.ndarray:
    """Returns the images in an npy file, or those of an array in an npz file; refuses pickles."""
    loaded = np.load(path)
    if isinstance(loaded, np.ndarray):
        return loaded
    if array not in loaded:
        raise ValueError(f"{path}: name one of its arrays: {', '.join(loaded)}")
    return np.asarray(loaded[array])


def main(model: str, images: str, array: str = "") -> None:
    """Prints the classes of the first images."""
    if not Path(model).is_file():
        raise ValueError(f"{model}: no such file, expected a model.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pixels, given = load(images, array), session.get_inputs()[0]
    if list(pixels.shape[1:]) != given.shape[1:]:
        raise ValueError(
            f"{images}: got the shape {pixels.shape}, expected (n, {', '.join(map(str, given.shape[1:]))})"
        )
    output = session.get_outputs()[0].name  # `probabilities`, or `values` of a regression
    (results,) = session.run([output], {given.name: pixels[:SHOWN].astype(np.float32)})
    names = json.loads(session.get_modelmeta().custom_metadata_map.get("class_names", "[]"))
    if len(names) != results.shape[1]:  # such as of a model for two classes of several: the second one is its positive
        names = range(results.shape[1])
    for number, row in enumerate(results):
        answer = f"{row[0]:.4f}" if output == "values" else f"{names[row.argmax()]} with probability {row.max():.4f}"
        print(f"image {number}: {answer}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/classify.py MODEL.onnx IMAGES.npy|IMAGES.npz [ARRAY]")
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
