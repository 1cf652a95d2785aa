"""Compares files that should be equal: `same bytes`, `same values`, `within tolerance` or `different`.

`python -m stages.verify --tolerance 1e-6` reads a JSON list of pairs of paths, files or folders, on standard input
and prints a list with the verdict of each pair, in the same order.

Files with different bytes are opened if their format is known (json, csv, npy, npz, parquet, onnx, keras) and compared
as trees of dictionaries, lists, arrays and scalars. Integers, texts and shapes must be equal; floats may differ by the
tolerance, relative to the largest of |a|, |b| and 1.
"""

import argparse
import filecmp
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import EXIT_DONE, DataError
from stages.data.memory import limited_memory
from stages.verify.load_files import LOAD_ERRORS, LOADERS, UNPACKED_FACTOR

BLOCK = 1 << 20  # elements compared at a time: arrays may be larger than memory
STRUCTURAL = math.inf  # size of a difference that no tolerance covers
REMEDY = "use a machine with more memory"
MAX_REASON = 200  # characters


class Verdict(StrEnum):
    """How far two files are equal, best first."""

    SAME_BYTES = "same bytes"
    SAME_VALUES = "same values"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        verdict: how far the files are equal.
        detail: the largest difference.
        has_values: the values were compared, or the files have the same bytes; False for other formats and for files
            that are too large.
        same_weights: the files are ONNX models that differ in their graphs, such as in names, and not in their weights.
    """

    verdict: Verdict
    detail: str = ""
    has_values: bool = True
    same_weights: bool = False


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
    print(json.dumps([asdict(comparison) for comparison in comparisons]))
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
        return Comparison(Verdict.DIFFERENT, f"the bytes differ; values of {files} are not compared", has_values=False)
    try:
        load, size = LOADERS[one.suffix], one.stat().st_size + other.stat().st_size
        with limited_memory(UNPACKED_FACTOR * size, "their values", REMEDY):
            trees = load(one), load(other)
            largest = max(_differences(*trees), key=lambda difference: difference.size, default=None)
            same_weights = one.suffix == ".onnx" and bool(found := _weights(trees[0])) and found == _weights(trees[1])
    except (DataError, MemoryError) as error:
        detail = f"the bytes differ; the values are not compared: {_reason(error)}"
        return Comparison(Verdict.DIFFERENT, detail, has_values=False)
    except LOAD_ERRORS as error:
        reason = _reason(error)
        return Comparison(Verdict.DIFFERENT, f"the bytes differ, and a file cannot be read as {one.suffix}: {reason}")
    if largest is None:
        return Comparison(Verdict.SAME_VALUES)
    verdict = Verdict.WITHIN_TOLERANCE if largest.size <= tolerance else Verdict.DIFFERENT
    return Comparison(verdict, str(largest), same_weights=same_weights)


def _weights(model: Any) -> list[tuple[Any, ...]]:
    """Returns the arrays of floats of a model whatever their names, which another exporter chooses anew."""
    arrays = [array for array in model["weights"].values() if array.dtype.kind not in "iubOSU"]
    return sorted((array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest()) for array in arrays)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_REASON] or type(error).__name__


def _compare_folders(one: Path, other: Path, tolerance: float) -> Comparison:
    paths = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*") if path.is_file()}
    order, worst = list(Verdict), Comparison(Verdict.SAME_BYTES)

    def rank(comparison: Comparison) -> tuple[int, bool]:  # values that differ say more than bytes that differ
        return order.index(comparison.verdict), comparison.has_values

    for name in sorted(map(str, paths)):
        comparison = compare(one / name, other / name, tolerance)
        if rank(comparison) > rank(worst):
            detail = f"{name}: {comparison.detail}" if comparison.detail else ""
            worst = Comparison(comparison.verdict, detail, comparison.has_values)
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
    elif not (_is_missing(one) and _is_missing(other)) and (
        one != other or isinstance(one, bool) != isinstance(other, bool)
    ):
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
        return 0.0 if np.array_equal(one, other, equal_nan=one.dtype.kind in "mM") else STRUCTURAL
    wide = np.result_type(one, np.float64)
    a, b = one.astype(wide), other.astype(wide)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return float(np.max(np.where(equal, 0.0, np.where(np.isfinite(sizes), sizes, STRUCTURAL)), initial=0.0))


def _is_missing(value: Any) -> bool:
    """Returns True for NaN, for a missing time, and for pandas' missing value."""
    try:
        return bool(value != value)
    except TypeError:  # pandas' one is neither true nor false
        return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
