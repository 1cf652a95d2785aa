"""All that decides a training's result, as facts to be hashed."""

import hashlib
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

from stages.model.config import Model
from stages.train.device import Device

PACKAGES = ("keras", "tensorflow", "jax", "jaxlib", "numpy")


def facts(name: str, model: Model, data: dict[str, str], device: Device, precision: str) -> dict[str, Any]:
    """What went into the training of `model`, called `name`, on files with the digests `data`."""
    return {
        "name": name,
        "parameters": model.model_dump(mode="json"),
        "data": data,
        "code": code(),
        "versions": {"python": platform.python_version(), **versions()},
        "device": device.as_dict(),
        "precision": precision,
    }


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def code() -> dict[str, str]:
    """SHA-256 of each module of `stages` that this process has imported, by name.

    When a training asks, it has imported all that it needs: tests/stages/train/test_fingerprint.py sees to it.
    """
    return {
        name: hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "stages" and module.__file__
    }


def versions() -> dict[str, str]:
    """Versions of the packages that compute, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
