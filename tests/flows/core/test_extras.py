"""Missing optional packages: one sentence names the package and the extra that installs it."""

from pathlib import Path

import pytest

from flows.core.extras import missing_package
from tests.support.commands import run_python

# Runs `inkflow` as if a package were not installed.
PROGRAM = "import sys; sys.modules[{module!r}] = None; from flows.cli.main import console; console()"


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("onnxruntime", "onnxruntime", "predict"), ("PIL.Image", "PIL", "predict"), ("sklearn", "sklearn", "train")],
)
def test_the_extra_is_named(module: str, package: str, extra: str) -> None:
    """The message names the package and the first extra that installs it."""
    error = missing_package(module)
    assert str(error) == f"this needs the package {package}, which is not installed; pip install 'inkflow[{extra}]'"


@pytest.mark.parametrize("module", ["dvc", "no_such_module"])
def test_other_modules_are_not_explained(module: str) -> None:
    """A module of the base package, or one that nothing installs, is no matter of an extra."""
    assert missing_package(module) is None


def test_predict_without_its_packages(tmp_path: Path) -> None:
    """`inkflow predict` without ONNX Runtime ends with exit code 2 and one sentence."""
    (tmp_path / "model.onnx").write_bytes(b"")
    program = PROGRAM.format(module="onnxruntime")
    process = run_python("-c", program, "predict", "model.onnx", "image.png", folder=tmp_path)
    assert process.returncode == 2
    assert process.stderr.startswith("error: this needs the package onnxruntime")
    assert process.stderr.count("\n") == 1
