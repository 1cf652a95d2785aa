"""Draws docs/watching.png: a model of MNIST that reads its test images, and later images that are moved to the right.

    python -m tests.support.watching_picture MNIST      a clone of this project with the results of `inkflow run`

The images come in batches: each is one point of the curves.
"""

import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from stages.charts import vega
from stages.monitor.picture import picture
from stages.predict.classifier import open_classifier
from stages.predict.model_standing import file_sha256
from stages.predict.watcher import Watcher, watched
from stages.watch.record import read_record
from tests.support.root import ROOT

MODEL = "dense"
HEALTHY, MOVED = (25, 60), (20, 20)  # batches, and images of each
PIXELS_TO_RIGHT = 2


def main() -> None:
    """Shows the images to the model, batch by batch, and draws what its watch has found."""
    project = Path(sys.argv[1]).resolve()
    with np.load(project / "data/raw/dataset.npz") as arrays:
        images = np.random.default_rng(0).permutation(arrays["x_test"].astype(np.float32))  # their order is no chance
    boundary = HEALTHY[0] * HEALTHY[1]
    later = images[boundary : boundary + MOVED[0] * MOVED[1]]
    moved = np.roll(later, PIXELS_TO_RIGHT, axis=2)  # the margin is empty
    file = project / "models" / MODEL / "model.onnx"
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        Path(".dvc").mkdir()  # the record belongs to a project
        model = watched(open_classifier(file), file_sha256(file), {})
        assert isinstance(model.watcher, Watcher)
        for batch in [*np.split(images[:boundary], HEALTHY[0]), *np.split(moved, MOVED[0])]:
            list(model.answers(batch))
            model.watcher.keep()
            model.watcher.save()
        [path] = Path(".inkflow/watch").glob("*.json")
        record = read_record(path)
        os.chdir(ROOT)
    assert record is not None
    with Image.open(BytesIO(vega.png(picture(record)))) as drawn:
        drawn.convert("RGB").save(ROOT / "docs" / "watching.png", optimize=True)  # a fifth of the size


if __name__ == "__main__":
    main()
