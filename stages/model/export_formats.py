"""The formats of `inkflow export`, and the exports beside a model."""

from collections.abc import Iterator
from pathlib import Path

FORMATS = {"litert": "model.tflite", "saved_model": "saved_model"}  # the name of each beside model.onnx


def older_exports(folder: Path) -> Iterator[str]:
    """Yields a warning for each export in `folder`, whose model has just been trained anew.

    The exports are not read: a stage has no undeclared inputs.
    """
    for name, file in FORMATS.items():
        if (folder / file).exists():
            yield (
                f"{folder / file} was made before this training, from the earlier model.onnx; make it again: "
                f"inkflow export {folder / 'model.keras'} --format {name}"
            )
