"""Compares files that should be the same: `same bytes`, `same values`, `within tolerance` or `different`.

`python -m stages.verify --tolerance 1e-6` reads a JSON list of pairs of paths, files or folders, on standard input
and prints a list with the verdict of each pair, in the same order.

What has other bytes is opened where its kind is known (json, csv, npy, npz, parquet, onnx, keras) and compared as
trees of dictionaries, lists, arrays and scalars. Whole numbers, texts and shapes must agree; numbers with a fraction
may differ by the tolerance, as a part of the largest of |a|, |b| and 1.
"""

import argparse
import csv
import filecmp
import io
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.errors import EXIT_DONE

BLOCK = 1 << 20  # elements compared at a time: arrays may be larger than memory
STRUCTURE = math.inf  # size of a difference that no tolerance covers


class Verdict(StrEnum):
    """How much two files are the same, best first."""

    SAME_BYTES = "same bytes"
    SAME_VALUES = "same values"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison; `detail` names the largest difference."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Difference:
    """One difference; its size is compared with the tolerance."""

    where: str
    size: float
    words: str

    def __str__(self) -> str:
        return f"{self.where}: {self.words}" if self.where else self.words


def main() -> int:
    """Compare the pairs that standard input names."""
    parser = argparse.ArgumentParser(description="Compare pairs of files or folders, named on standard input.")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="largest difference of numbers (default: 1e-6)")
    tolerance = parser.parse_args().tolerance
    found = [compare(Path(one), Path(other), tolerance) for one, other in json.load(sys.stdin)]
    print(json.dumps([{"verdict": each.verdict, "detail": each.detail} for each in found]))
    return EXIT_DONE


def compare(one: Path, other: Path, tolerance: float) -> Comparison:
    """Compare two files, or two folders file by file: the worst of those is the folder's."""
    if one.is_dir() and other.is_dir():
        names = sorted(
            {str(path.relative_to(top)) for top in (one, other) for path in top.rglob("*") if path.is_file()}
        )
        found = [(name, compare(one / name, other / name, tolerance)) for name in names]
        order = list(Verdict)
        name, worst = max(found, key=lambda item: order.index(item[1].verdict), default=("", None))
        return _named(name, worst) if worst else Comparison(Verdict.SAME_BYTES)
    if not (one.is_file() and other.is_file()):
        return Comparison(
            Verdict.DIFFERENT, "there is only one of the two" if one.exists() or other.exists() else "gone"
        )
    if filecmp.cmp(one, other, shallow=False):
        return Comparison(Verdict.SAME_BYTES)
    if one.suffix not in LOADERS:
        return Comparison(Verdict.DIFFERENT, f"other bytes; values of {one.suffix or 'such'} files are not compared")
    try:
        load = LOADERS[one.suffix]
        largest = max(_differences(load(one), load(other)), key=lambda item: item.size, default=None)
    except (ValueError, KeyError, OSError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        return Comparison(Verdict.DIFFERENT, f"other bytes, and not readable as {one.suffix}: {error}")
    if largest is None:
        return Comparison(Verdict.SAME_VALUES)
    within = largest.size <= tolerance
    return Comparison(Verdict.WITHIN_TOLERANCE if within else Verdict.DIFFERENT, str(largest))


def _named(name: str, found: Comparison) -> Comparison:
    return Comparison(found.verdict, f"{name}: {found.detail}" if found.detail else "")


def _differences(one: Any, other: Any, where: str = "") -> Iterator[Difference]:
    """Where two trees differ, and by how much."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        yield from _array_differences(one, other, where)
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            below = f"{where}.{key}" if where else str(key)
            if key in one and key in other:
                yield from _differences(one[key], other[key], below)
            else:
                yield Difference(below, STRUCTURE, "gone" if key in one else "new")
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield Difference(where, STRUCTURE, f"{len(one)} items became {len(other)}")
        for number, (item, counterpart) in enumerate(zip(one, other, strict=False)):
            yield from _differences(item, counterpart, f"{where}[{number}]")
    else:
        yield from _scalar_differences(one, other, where)


def _scalar_differences(one: Any, other: Any, where: str) -> Iterator[Difference]:
    if _is_number(one) and _is_number(other) and (isinstance(one, float) or isinstance(other, float)):
        yield from _array_differences(np.array([one], float), np.array([other], float), where)
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield Difference(where, STRUCTURE, f"{_short(one)} became {_short(other)}")


def _array_differences(one: np.ndarray, other: np.ndarray, where: str) -> Iterator[Difference]:
    """The largest difference of two arrays; none where all is the same."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        yield Difference(where, STRUCTURE, f"{one.dtype} {one.shape} became {other.dtype} {other.shape}")
        return
    if one.dtype.kind == "O":
        yield from _differences(one.tolist(), other.tolist(), where)
        return
    left, right = one.reshape(-1), other.reshape(-1)
    starts = range(0, left.size, BLOCK)
    sizes = [_largest(left[start : start + BLOCK], right[start : start + BLOCK]) for start in starts]
    size = max(sizes, default=0.0)
    if size:
        exact = "other numbers" if one.dtype.kind in "iub" else "other content"
        yield Difference(where, size, f"differs by {size:.2g}" if math.isfinite(size) else exact)


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference as a part of the larger one of |a|, |b| and 1; infinite where no tolerance is meant."""
    if one.dtype.kind not in "fc":
        return 0.0 if np.array_equal(one, other) else STRUCTURE
    wide = np.result_type(one, np.float64)
    a, b = one.astype(wide), other.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(a - b) / np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return float(np.max(np.where(same, 0.0, np.where(np.isfinite(sizes), sizes, STRUCTURE)), initial=0.0))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        return [[_cell(text) for text in row] for row in csv.reader(file)]


def _cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _npy(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _parquet(path: Path) -> Any:
    from pyarrow import parquet  # late, as all that one kind of file needs

    frame = parquet.read_table(path).to_pandas()
    return {str(name): column.to_numpy() for name, column in frame.items()}


def _onnx(path: Path) -> Any:
    """Weights by name; the rest of the graph as one text. What wrote the file does not count."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx

    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    model.graph.doc_string = ""
    said = {entry.key: entry.value for entry in model.metadata_props}  # what the answers mean
    return {"weights": weights, "graph": str(model.graph), "opset": sorted(map(str, model.opset_import)), "said": said}


def _keras(path: Path) -> Any:
    """Weights by their place; the configuration. When and by what the file was written does not count."""
    import h5py  # type: ignore[import-untyped]  # comes with Keras

    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        found["config"] = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


LOADERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _csv,
    ".json": _json,
    ".keras": _keras,
    ".npy": _npy,
    ".npz": _npz,
    ".onnx": _onnx,
    ".parquet": _parquet,
}
