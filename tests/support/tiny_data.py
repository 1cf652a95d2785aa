"""Small valid and invalid data sets, and parameters for them."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.errors import exit_with
from stages.data.datasets import digest

Changes = Mapping[str, NDArray[Any] | None]


def tiny_arrays(train: int = 40, test: int = 12, shape: tuple[int, ...] = (8, 9)) -> dict[str, NDArray[Any]]:
    """Returns random pixels, and labels 0 to 3 in turn."""
    random = np.random.default_rng(5)
    arrays: dict[str, NDArray[Any]] = {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, *shape), np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 4).astype(np.uint8)
    return arrays


def save(path: Path, changes: Changes | None = None, *, compress: bool = True) -> Path:
    """Writes the tiny data set as npz; `changes` replaces arrays, and None removes one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {key: array for key, array in (tiny_arrays() | dict(changes or {})).items() if array is not None}
    (np.savez_compressed if compress else np.savez)(path, allow_pickle=True, **arrays)
    return path


def set_claimed_size(path: Path, name: str, size: int) -> None:
    """Changes the unpacked size of the entry `name` in the zip directory of `path`."""
    content = bytearray(path.read_bytes())
    record = content.index(b"PK\x01\x02")
    while content[record + 46 : record + 46 + len(name)] != name.encode():
        record = content.index(b"PK\x01\x02", record + 4)
    content[record + 24 : record + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)


def replace_entry(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Replaces the content of the entry `name` of the zip file `path`."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, old in entries.items():
            is_replaced = entry == name
            archive.writestr(entry, content if is_replaced else old, compression if is_replaced else None)


def write_params(folder: Path, url: str = "http://127.0.0.1:9/tiny.npz", **changes: Any) -> None:
    """Writes a params.yaml for the tiny data set; `changes` are keys of `prepare`, or the keys `tiny` and `dataset`."""
    digests = {name: digest(array) for name, array in tiny_arrays().items()}
    tiny = {"title": "Tiny", "url": url, "sha256": digests} | changes.pop("tiny", {})
    digits = {"title": "Digits", "embedded": "digits", "stand_in_for": "tiny"}
    optimizer = {"name": "adam"}
    model = {"network": "dense", "units": [4], "optimizer": optimizer, "batch_size": 8, "epochs": 1}
    content = {
        "dataset": changes.pop("dataset", "tiny"),
        "datasets": {"tiny": tiny, "digits": digits},
        "prepare": changes,
        "models": {"dense": model},
        "report": {},
    }
    (folder / "params.yaml").write_text(json.dumps(content))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every file under `folder`, including hidden ones."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def expect_error(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Runs a stage that must fail, and returns its exit code and its message of one line on standard error."""
    capsys.readouterr()
    code = exit_with(lambda: main(arguments))
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return code, error
