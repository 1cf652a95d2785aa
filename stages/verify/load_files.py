"""Loads files as trees of dictionaries, lists, arrays and scalars, by their suffix, to compare their values."""

import csv
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import DataError

# Bytes of the entries of a zip file, and of the arrays of an HDF5 file: this many, or this multiple of a larger file.
MAX_UNPACKED, UNPACKED_FACTOR = 4_000_000_000, 50
# Raised by the readers of the formats on damaged files; none of them documents all.
LOAD_ERRORS = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError, EOFError, RuntimeError,
    SyntaxError, csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


class TooLarge(DataError):
    """A file unpacks to more than is compared."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"a file unpacks to {size:,} bytes, expected at most {most:,}; unpack it to compare its parts")


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _load_csv(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        return [[_parse_cell(text) for text in row] for row in csv.reader(file)]


def _parse_cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _load_npy(path: Path) -> Any:
    return np.lib.format.open_memmap(path, mode="r")  # np.load would open a zip file too


def _check_unpacked(archive: zipfile.ZipFile, most: int) -> None:
    """Checks the sizes in the directory of a zip file: its reader unpacks no more than these.

    Raises:
        TooLarge: they are more than `most` bytes.
    """
    if (size := sum(entry.file_size for entry in archive.infolist())) > most:
        raise TooLarge(size, most)


def _most_unpacked(path: Path) -> int:
    """Returns to how many bytes the file `path` may unpack: a small file that is a bomb may not fill the memory."""
    return max(MAX_UNPACKED, UNPACKED_FACTOR * path.stat().st_size)


def _load_npz(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        _check_unpacked(archive, _most_unpacked(path))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _load_parquet(path: Path) -> Any:
    from pyarrow import ArrowException, parquet  # slow, and only needed for this format, as the imports below

    try:
        frame = parquet.read_table(path).to_pandas()
    except ArrowException as error:
        raise ValueError(str(error)) from error
    return {str(name): column.to_numpy() for name, column in frame.items()}


def _load_onnx(path: Path) -> Any:
    """Returns weights by name and the rest of the graph as text, without the name of the producer."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx

    try:
        model = onnx.load(path, load_external_data=False)  # it could name any file of this machine
    except DecodeError as error:
        raise ValueError(str(error)) from error
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == tensor.EXTERNAL]
    if outside:
        raise ValueError(f"the weights {outside[0]!r} are in another file")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    model.graph.doc_string = ""
    return {
        "weights": weights,
        "graph": str(model.graph),
        "opset": sorted(map(str, model.opset_import)),
        "metadata": {entry.key: _metadata(entry.value) for entry in model.metadata_props},  # what the outputs mean
    }


def _metadata(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _load_keras(path: Path) -> Any:
    """Returns the configuration and the weights by path, without the date and version of the writer."""
    import h5py  # type: ignore[import-untyped]  # comes with Keras

    content: dict[str, Any] = {}
    most, size = _most_unpacked(path), 0

    def add(name: str, item: Any) -> None:
        nonlocal size
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:  # it may name any file of this machine
            raise ValueError(f"its weights {name} are in another file")
        size += item.nbytes
        if size > most:
            raise TooLarge(size, most)
        content[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        _check_unpacked(archive, most)
        content["config"] = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(add)
    return content


LOADERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _load_csv,
    ".json": _load_json,
    ".keras": _load_keras,
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".onnx": _load_onnx,
    ".parquet": _load_parquet,
}
