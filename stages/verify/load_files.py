"""Loads files as trees of dictionaries, lists, arrays and scalars, by their suffix, to compare their values."""

import csv
import io
import json
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import DataError

# Bytes of the entries of a zip file, and of the arrays of an HDF5 file: this many, or this multiple of a larger file.
MAX_UNPACKED, UNPACKED_FACTOR = 4_000_000_000, 50
# Cells of CSV that are numbers: `007` and `2024_01` are names, though Python reads them as numbers.
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,299})")
FLOAT = re.compile(rf"({INTEGER.pattern}(\.[0-9]*)?|-?\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
# Raised by the readers of the formats on damaged files; none of them documents all.
LOAD_ERRORS = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError, EOFError, RuntimeError,
    SyntaxError, csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


class TooLarge(DataError):
    """A file unpacks to more than is compared."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"a file unpacks to {size:,} bytes, expected at most {most:,}; unpack it to compare its parts")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the pairs as a dictionary.

    Raises:
        ValueError: a name is there twice, so that one of its values would not be compared.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:80]!r} is there twice")
        found[name] = value
    return found


def _parse_json(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _load_json(path: Path) -> Any:
    return _parse_json(path.read_text(encoding="utf-8"))


def _load_csv(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        return [[_parse_cell(text) for text in row] for row in csv.reader(file)]


def _parse_cell(text: str) -> int | float | str:
    trimmed = text.strip()
    if INTEGER.fullmatch(trimmed):
        return int(trimmed)
    return float(trimmed) if FLOAT.fullmatch(trimmed) else text


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
        return _unique((name, arrays[name]) for name in arrays.files)


def _load_parquet(path: Path) -> Any:
    """Returns the columns by name, those of pandas' index among them, and an index that is a range but not of rows."""
    from pyarrow import ArrowException, parquet  # slow, and only needed for this format, as the imports below

    try:
        table = parquet.read_table(path)
        # Integers with missing ones stay integers: floats do not hold all of them.
        frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    except ArrowException as error:
        raise ValueError(str(error)) from error
    rows = {"kind": "range", "name": None, "start": 0, "stop": len(frame), "step": 1}
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return {
        "columns": _unique((str(name), column.to_numpy()) for name, column in frame.items()),
        "index": [part for part in index if isinstance(part, dict) and part != rows],
    }


def _load_onnx(path: Path) -> Any:
    """Returns weights by name, the rest of the graph as text, and the metadata, which say what the outputs mean."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx

    try:
        model = onnx.load(path, load_external_data=False)  # it could name any file of this machine
    except DecodeError as error:
        raise ValueError(str(error)) from error
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == tensor.EXTERNAL]
    if outside:
        raise ValueError(f"the weights {outside[0]!r} are in another file")
    weights = _unique((tensor.name, onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.doc_string = ""
    return {
        "weights": weights,
        "graph": str(model.graph),
        "functions": sorted(map(str, model.functions)),
        "opset": sorted(map(str, model.opset_import)),
        "metadata": _unique((entry.key, _metadata(entry.value)) for entry in model.metadata_props),
    }


def _metadata(text: str) -> Any:
    try:
        return _parse_json(text)
    except ValueError:
        return text


def _load_keras(path: Path) -> Any:
    """Returns configuration, weights by path and other entries, without the date and version of the writer."""
    import h5py  # type: ignore[import-untyped]  # comes with Keras

    weights: dict[str, Any] = {}
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
        weights[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        _check_unpacked(archive, most)
        entries = _unique((name, archive.read(name)) for name in archive.namelist() if name != "metadata.json")
    config = _parse_json(entries.pop("config.json"))
    with h5py.File(io.BytesIO(entries.pop("model.weights.h5"))) as file:
        file.visititems(add)
    others = {name: np.frombuffer(content, np.uint8) for name, content in entries.items()}
    return _unique([("config", config), *weights.items(), *others.items()])


LOADERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _load_csv,
    ".json": _load_json,
    ".keras": _load_keras,
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".onnx": _load_onnx,
    ".parquet": _load_parquet,
}
