"""Finds the file of a model by its name."""

import os
from pathlib import Path

from stages.base.errors import InvalidInput
from stages.base.files import exists, is_file, is_folder, project_folder
from stages.base.suggestions import did_you_mean
from stages.predict.earlier_outputs import ASIDE, OUTPUTS, readable

MODELS = Path("models")
FORMATS = {  # of model files, by suffix
    ".onnx": "an ONNX model", ".keras": "a Keras model", ".tflite": "a LiteRT model", ".h5": "an HDF5 file",
    ".pb": "a SavedModel",
}  # fmt: skip


def find_model(model: str, file: str = "model.onnx") -> Path:
    """Returns the file of `model`: a folder, a file, or the name of a folder in MODELS, here or in the project around.

    While the model is trained again, it is the earlier file.

    Raises:
        InvalidInput: There is no such model, or it has another format than `file`.
    """
    root = Path(os.path.relpath(project_folder()))  # `.` in the project's own folder
    places = (Path(model), Path(model) / file, MODELS / model / file, root / MODELS / model / file)
    for path in map(readable, places):
        if is_file(path):
            _check_format(path, file)
            return path
    _check_format(Path(model), file)
    pattern = f"{MODELS}/*/{file}"
    found = (*Path().glob(pattern), *root.glob(pattern), *(root / ASIDE).glob(f"*/{OUTPUTS}/{pattern}"))
    known = sorted({path.parent.name for path in found})
    hint = did_you_mean(model, known)
    models = f"known: {', '.join(known)}" if known else f"{MODELS} holds none: train one with `inkflow run`"
    problem = f"the folder {model!r} holds no {file}" if is_folder(model) else f"there is no model {model!r}"
    raise InvalidInput(f"{problem}; {hint}{models}")


def in_project(path: Path) -> Path:
    """Returns `path` if it exists, else the same path in the project around the current folder."""
    return path if exists(path) else Path(os.path.relpath(project_folder())) / path


def _check_format(path: Path, file: str) -> None:
    """Checks that `path` is not a model in another format than that of `file`.

    Raises:
        InvalidInput: It is; the message names the right file, which is mostly in the same folder.
    """
    expected = Path(file).suffix
    suffix = path.suffix if is_file(path) else ".pb" if is_file(path / "saved_model.pb") else expected
    if suffix == expected or suffix not in FORMATS:
        return
    sibling = path.parent / file
    advice = f"; use {sibling} in the same folder" if is_file(sibling) else f", such as {file}"
    raise InvalidInput(f"{path}: is {FORMATS[suffix]}, expected {FORMATS[expected]}{advice}")
