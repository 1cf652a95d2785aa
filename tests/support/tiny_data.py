"""Small data sets, right and wrong, and the parameters that go with them."""

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
    """Random pixels, and labels that go round 0 to 3."""
    random = np.random.default_rng(5)
    arrays: dict[str, NDArray[Any]] = {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, *shape), np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 4).astype(np.uint8)
    return arrays


def save(path: Path, changes: Changes | None = None, *, compress: bool = True) -> Path:
    """Write the tiny data set as npz, some arrays replaced, or left out where None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {key: array for key, array in (tiny_arrays() | dict(changes or {})).items() if array is not None}
    (np.savez_compressed if compress else np.savez)(path, allow_pickle=True, **arrays)
    return path


def claim(path: Path, name: str, size: int) -> None:
    """Make the zip directory of `path` say that the entry unpacks to `size` bytes."""
    content = bytearray(path.read_bytes())
    record = content.index(b"PK\x01\x02")
    while content[record + 46 : record + 46 + len(name)] != name.encode():
        record = content.index(b"PK\x01\x02", record + 4)
    content[record + 24 : record + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)


def replace_entry(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Write other bytes for one entry of the zip file `path`."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, old in entries.items():
            chosen = entry == name
            archive.writestr(entry, content if chosen else old, compression if chosen else None)


def write_params(folder: Path, url: str = "http://127.0.0.1:9/tiny.npz", **changes: Any) -> None:
    """params.yaml for the tiny data set, whose digests are right; `changes` are of `tiny` or `prepare`."""
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
    """Every file under `folder`, hidden ones too, with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refusal(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and the one sentence on standard error of a stage that must fail."""
    capsys.readouterr()
    code = exit_with(lambda: main(arguments))
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: ")
    assert sentence.count("\n") == 1
    assert "Traceback" not in sentence
    return code, sentence
