"""Compares files that should be equal: `same bytes`, `same values`, `within tolerance` or `different`.

`python -m stages.verify --tolerance 1e-6` reads a JSON list of pairs of paths, files or folders, on standard input
and prints a list with the verdict of each pair, in the same order.

Files with different bytes are opened if their format is known (json, csv, npy, npz, parquet, onnx, keras) and compared
as trees of dictionaries, lists, arrays and scalars. Integers, texts and shapes must be equal; floats may differ by the
tolerance, relative to the largest of |a|, |b| and 1.
"""

import argparse
import csv
import filecmp
import io
import json
import math
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import EXIT_DONE, DataError
from stages.data.memory import limited_memory

BLOCK = 1 << 20  # elements compared at a time: arrays may be larger than memory
STRUCTURAL = math.inf  # size of a difference that no tolerance covers
MAX_UNPACKED = 4_000_000_000  # bytes of the entries of a zip file, and of the arrays of an HDF5 file
MEMORY_FACTOR = 50  # of the files: columns of equal values are packed well
MAX_REASON = 200  # characters
# Raised by the readers of the formats on damaged files; none of them documents all.
LOAD_ERRORS = (
    DataError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError, EOFError, RuntimeError,
    SyntaxError, csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


class Verdict(StrEnum):
    """How far two files are equal, best first."""

    SAME_BYTES = "same bytes"
    SAME_VALUES = "same values"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison; `detail` describes the largest difference."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Difference:
    """One difference; its size is compared with the tolerance."""

    location: str
    size: float
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}" if self.location else self.message


def main() -> int:
    """Compares the pairs of paths on standard input."""
    parser = argparse.ArgumentParser(description="Compare pairs of files or folders, named on standard input.")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="largest difference of numbers (default: 1e-6)")
    tolerance = parser.parse_args().tolerance
    comparisons = [compare(Path(one), Path(other), tolerance) for one, other in json.load(sys.stdin)]
    print(json.dumps([{"verdict": comparison.verdict, "detail": comparison.detail} for comparison in comparisons]))
    return EXIT_DONE


def compare(one: Path, other: Path, tolerance: float) -> Comparison:
    """Compares two files, or two folders file by file: the worst verdict of a file is that of the folder."""
    if one.is_dir() and other.is_dir():
        return _compare_folders(one, other, tolerance)
    if not (one.is_file() and other.is_file()):
        exists = one.exists() or other.exists()
        return Comparison(Verdict.DIFFERENT, "only one of the two exists" if exists else "neither exists")
    if filecmp.cmp(one, other, shallow=False):
        return Comparison(Verdict.SAME_BYTES)
    if one.suffix not in LOADERS:
        files = f"{one.suffix} files" if one.suffix else "files without a suffix"
        return Comparison(Verdict.DIFFERENT, f"the bytes differ; values of {files} are not compared")
    try:
        load, size = LOADERS[one.suffix], one.stat().st_size + other.stat().st_size
        with limited_memory(MEMORY_FACTOR * size, "their values"):
            largest = max(_differences(load(one), load(other)), key=lambda difference: difference.size, default=None)
    except LOAD_ERRORS as error:
        reason = " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
        return Comparison(Verdict.DIFFERENT, f"the bytes differ, and a file cannot be read as {one.suffix}: {reason}")
    if largest is None:
        return Comparison(Verdict.SAME_VALUES)
    within = largest.size <= tolerance
    return Comparison(Verdict.WITHIN_TOLERANCE if within else Verdict.DIFFERENT, str(largest))


def _compare_folders(one: Path, other: Path, tolerance: float) -> Comparison:
    paths = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if path.is_file()}
    order, worst = list(Verdict), Comparison(Verdict.SAME_BYTES)
    for name in sorted(map(str, paths)):
        comparison = compare(one / name, other / name, tolerance)
        if order.index(comparison.verdict) > order.index(worst.verdict):
            detail = f"{name}: {comparison.detail}" if comparison.detail else ""
            worst = Comparison(comparison.verdict, detail)
    return worst


def _differences(one: Any, other: Any, location: str = "") -> Iterator[Difference]:
    """Yields the differences of two trees."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        yield from _array_differences(one, other, location)
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            child = f"{location}.{key}" if location else str(key)
            if key in one and key in other:
                yield from _differences(one[key], other[key], child)
            else:
                yield Difference(child, STRUCTURAL, "removed" if key in one else "added")
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield Difference(location, STRUCTURAL, f"{len(one)} items became {len(other)}")
        for number, (item, counterpart) in enumerate(zip(one, other, strict=False)):
            yield from _differences(item, counterpart, f"{location}[{number}]")
    else:
        yield from _scalar_differences(one, other, location)


def _scalar_differences(one: Any, other: Any, location: str) -> Iterator[Difference]:
    if _is_number(one) and _is_number(other) and (isinstance(one, float) or isinstance(other, float)):
        yield from _array_differences(np.array([one], float), np.array([other], float), location)
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield Difference(location, STRUCTURAL, f"{_shorten(one)} became {_shorten(other)}")


def _array_differences(one: np.ndarray, other: np.ndarray, location: str) -> Iterator[Difference]:
    """Yields the largest difference of two arrays, if they differ."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        yield Difference(location, STRUCTURAL, f"{one.dtype} {one.shape} became {other.dtype} {other.shape}")
        return
    if one.dtype.kind == "O":
        yield from _differences(one.tolist(), other.tolist(), location)
        return
    left, right = one.reshape(-1), other.reshape(-1)
    starts = range(0, left.size, BLOCK)
    sizes = [_largest_difference(left[start : start + BLOCK], right[start : start + BLOCK]) for start in starts]
    size = max(sizes, default=0.0)
    if size:
        exact = "the integers differ" if one.dtype.kind in "iub" else "the content differs"
        yield Difference(location, size, f"differs by {size:.2g}" if math.isfinite(size) else exact)


def _largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest difference relative to |a|, |b| or 1; infinite where no tolerance applies."""
    if one.dtype.kind not in "fc":
        return 0.0 if np.array_equal(one, other) else STRUCTURAL
    wide = np.result_type(one, np.float64)
    a, b = one.astype(wide), other.astype(wide)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return float(np.max(np.where(equal, 0.0, np.where(np.isfinite(sizes), sizes, STRUCTURAL)), initial=0.0))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


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


def _check_unpacked(archive: zipfile.ZipFile) -> None:
    """Checks the sizes in the directory of a zip file: its reader unpacks no more than these.

    Raises:
        ValueError: they are too large.
    """
    if (size := sum(entry.file_size for entry in archive.infolist())) > MAX_UNPACKED:
        raise ValueError(f"it unpacks to {size:,} bytes, expected at most {MAX_UNPACKED:,}")


def _load_npz(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        _check_unpacked(archive)
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
        model = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError) as error:  # the latter: weights outside of its folder
        raise ValueError(str(error)) from error
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
    left = MAX_UNPACKED

    def add(name: str, item: Any) -> None:
        nonlocal left
        if not isinstance(item, h5py.Dataset):
            return
        left -= item.nbytes
        if left < 0 or item.external or item.is_virtual:  # it may name any file of this machine
            raise ValueError(f"its weights {name} are in another file, or take more than {MAX_UNPACKED:,} bytes")
        content[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        _check_unpacked(archive)
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
