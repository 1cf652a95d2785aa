"""Evaluates the models of an earlier version on the test images of the project, where these have changed since."""

import shutil
import tempfile
from pathlib import Path

from flows.core.stage_program import run_program
from stages.base.errors import OutputError
from stages.base.files import parse_json

DESCRIPTION = Path("data/raw/dataset.json")
TEST_ARRAYS = ("x_test", "y_test")


def evaluate_again(project: Path, old: Path) -> str:
    """Evaluates the models in the folder `old` on the test images of `project`, if those are others.

    The models of `old` can then be compared with those of `project`: it has the data and the evaluations. Nothing in
    `old` changes if a model cannot be evaluated.

    Returns:
        A sentence about it; empty if the test images are the same.

    Raises:
        ProgramFailed: a model does not fit the new images.
        OutputError: the disk is full.
    """
    digests = [_test_digests(root) for root in (old, project)]
    if digests[0] == digests[1]:
        return ""
    try:
        _replace(project, old)
    except OSError as error:
        raise OutputError(old, error) from error
    return "the test images changed too: the models before were evaluated on the new ones"


def _replace(project: Path, old: Path) -> None:
    models = sorted((old / "evaluation").iterdir())
    with tempfile.TemporaryDirectory(dir=old) as folder:
        for model in models:
            file, raw = old / "models" / model.name / "model.onnx", (project / "data/raw").resolve()
            run_program("evaluate", ["--model", file, "--raw", raw, "--out", Path(folder) / model.name], project)
        for model in models:
            shutil.copytree(Path(folder) / model.name, model, dirs_exist_ok=True)
    for name in ("raw", "prepared"):
        shutil.rmtree(old / "data" / name)
        shutil.copytree(project / "data" / name, old / "data" / name)


def _test_digests(root: Path) -> list[str] | None:
    """Returns the digests of the test part of the data in `root`; None if they are not recorded."""
    try:
        arrays = parse_json((root / DESCRIPTION).read_text(encoding="utf-8"))["arrays"]
        return [arrays[name]["sha256"] for name in TEST_ARRAYS]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # the program that reads the description tells it
