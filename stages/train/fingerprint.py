"""Everything that decides a training's result, as the content of its checkpoint's key."""

import hashlib
import importlib.metadata
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.base.machine import vector_features
from stages.model.config import Model
from stages.train.custom.code import code_digests
from stages.train.device import Device
from stages.train.machine_settings import remaining_settings

PACKAGES = (
    "keras", "tensorflow", "jax", "jaxlib", "numpy", "ml-dtypes", "nvidia-cublas-cu12", "nvidia-cudnn-cu12",
    "scipy", "onnx", "tf2onnx",
)  # fmt: skip


def training_inputs(name: str, model: Model, data: dict[str, str], device: Device, precision: str) -> dict[str, Any]:
    """Returns the inputs of the training of `model`, called `name`, on files with the digests `data`."""
    return {
        "name": name,
        "parameters": model.model_dump(mode="json"),
        "data": data,
        "code": module_digests() | code_digests(model),
        "versions": {"python": platform.python_version(), **package_versions()},
        "device": asdict(device),
        "processor": vector_features() if device.kind == "cpu" else [],
        "environment": remaining_settings(),
        "precision": precision,
    }


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of `folder`, by name."""
    digests = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def module_digests() -> dict[str, str]:
    """Returns the SHA-256 of each module of `stages` that this process has imported, by name.

    The training calls it after its last import: tests/stages/train/test_fingerprint.py checks that.
    """
    return {
        name: hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
        for name, module in sorted(sys.modules.copy().items())  # a thread may import the exporter meanwhile
        if name.partition(".")[0] == "stages" and module.__file__
    }


def package_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that compute."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
