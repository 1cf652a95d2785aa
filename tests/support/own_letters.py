"""Own pictures that do not have MNIST's form: printed letters, black on white, as in docs/tutorial.md."""

import random
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from PIL import Image, ImageDraw, ImageFont

from stages.model.tasks import PICTURE_FORM
from stages.samples.picture_form import PictureForm
from tests.support.pictures import write_model

NAMES = "ABCDE"


def letter(name: str, seed: int, size: tuple[int, int] = (28, 28)) -> Image.Image:
    """Returns the letter `name`, black on white, anywhere on a picture of `size` (width, height)."""
    choose = random.Random(seed)
    side = min(size)
    picture = Image.new("L", size, "white")
    font = ImageFont.load_default(size=side * choose.uniform(0.5, 0.79))
    x, y = (length / 2 + choose.uniform(-0.06, 0.06) * side for length in size)
    ImageDraw.Draw(picture).text((x, y), name, "black", font, "mm")
    return picture


def letters(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns images (count, 28, 28) of letters, and their labels."""
    labels = np.arange(count) % len(NAMES)
    return np.stack([np.asarray(letter(NAMES[label], seed)) for seed, label in enumerate(labels)]), labels


def write_letter_model(path: Path, *, has_entry: bool = True) -> Path:
    """Writes a linear classifier of letters, fitted by least squares; without the entry as earlier versions do."""
    images, labels = letters(1500)
    inputs = np.c_[images.reshape(len(images), -1) / 255, np.ones(len(images))]
    targets = np.eye(len(NAMES))[labels] * 2 - 1
    weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ targets) * 10
    write_model(path, weights[:-1] / 255, weights[-1], list(NAMES))
    return set_form(path, PictureForm(background="light").model_dump_json()) if has_entry else path


def set_form(path: Path, text: str) -> Path:
    """Writes the metadata of the form of pictures to the model `path`."""
    model = onnx.load(path)
    helper.set_model_props(model, {item.key: item.value for item in model.metadata_props} | {PICTURE_FORM: text})
    onnx.save(model, path)
    return path
