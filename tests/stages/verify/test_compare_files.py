"""How `inkflow verify` compares two outputs of a stage: their kinds, tolerances and folders."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # comes with Keras
import numpy as np
import onnx
import pandas as pd
import pytest

from stages.verify import load_files
from stages.verify.compare_files import Verdict, compare

TOLERANCE = 1e-6


def save_npz(path: Path, values: np.ndarray) -> None:
    """Writes an npz file, compressed if its name is b: equal values then have different bytes."""
    (np.savez_compressed if path.stem == "b" else np.savez)(path, weights=values)


def save_npy(path: Path, values: np.ndarray) -> None:
    """Writes an npy file; its name decides the version of the format."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0) if path.stem == "b" else (1, 0))


def save_csv(path: Path, values: np.ndarray) -> None:
    """Writes a CSV file, with superfluous digits if its name is b."""
    path.write_text("x\n" + "\n".join(f"{value:.17f}" if path.stem == "b" else repr(float(value)) for value in values))


def save_parquet(path: Path, values: np.ndarray) -> None:
    """Writes a Parquet file; its name decides the compression."""
    pd.DataFrame({"x": values}).to_parquet(path, compression="gzip" if path.stem == "b" else "snappy")


def save_onnx(path: Path, values: np.ndarray) -> None:
    """Writes an ONNX model with one node with weights; its name is the producer."""
    weights = onnx.numpy_helper.from_array(values, "w")
    value = onnx.helper.make_tensor_value_info
    ends = [value("x", onnx.TensorProto.DOUBLE, [4])], [value("y", onnx.TensorProto.DOUBLE, [4])]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", *ends, [weights])
    onnx.save(onnx.helper.make_model(graph, producer_name=path.stem), path)


def save_keras(path: Path, values: np.ndarray) -> None:
    """Writes an archive as Keras does; its name is the date."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"date_saved": path.stem}))
        archive.writestr("config.json", json.dumps({"name": "m"}))
        archive.writestr("model.weights.h5", weights.getvalue())


def test_onnx_models_with_different_class_names(tmp_path: Path) -> None:
    """Models with equal weights and different class names are different."""
    for stem, names in (("a", "cat, dog"), ("b", "dog, cat")):
        save_onnx(tmp_path / f"{stem}.onnx", np.ones(4))
        model = onnx.load(tmp_path / f"{stem}.onnx")
        model.metadata_props.add(key="class_names", value=names)
        onnx.save(model, tmp_path / f"{stem}.onnx")
    comparison = compare(tmp_path / "a.onnx", tmp_path / "b.onnx", TOLERANCE)
    assert comparison.verdict is Verdict.DIFFERENT
    assert "class_names" in comparison.detail


@pytest.mark.parametrize("save", [save_npz, save_npy, save_csv, save_parquet, save_onnx, save_keras])
def test_kinds(save: Callable[[Path, np.ndarray], None], tmp_path: Path) -> None:
    """Each file format: equal values in different bytes, values within the tolerance, and different values."""
    one, other = (tmp_path / f"{stem}.{save.__name__.removeprefix('save_')}" for stem in "ab")
    values = np.array([0.5, 2000.25, -3.0, 0.0])
    save(one, values)
    for added, verdict in (
        (0.0, Verdict.SAME_VALUES),
        (1e-8, Verdict.WITHIN_TOLERANCE),
        (1e-2, Verdict.DIFFERENT),
    ):
        save(other, values + added)
        assert compare(one, other, TOLERANCE).verdict is verdict, added
    other.write_bytes(b"damaged")
    assert compare(one, other, TOLERANCE).verdict is Verdict.DIFFERENT
    other.write_bytes(one.read_bytes())
    assert compare(one, other, TOLERANCE).verdict is Verdict.SAME_BYTES


@pytest.mark.parametrize(
    ("one", "other", "verdict", "detail"),
    [
        ({"a": [1, 2]}, {"a": [1, 2.0]}, Verdict.SAME_VALUES, ""),
        ({"a": [1, 10**9]}, {"a": [1, 10**9 + 1]}, Verdict.DIFFERENT, "a[1]: 1000000000 became 1000000001"),
        ({"a": 1}, {"a": True}, Verdict.DIFFERENT, "a: 1 became True"),
        ({"a": 1}, {"b": 1}, Verdict.DIFFERENT, "a: removed"),
        ([1, 2], [1], Verdict.DIFFERENT, "2 items became 1"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, Verdict.DIFFERENT, "a.b: 'x' became 'y'"),
        ([1e9], [1e9 + 500], Verdict.WITHIN_TOLERANCE, "[0]: differs by 5e-07"),
        ([float("nan"), float("inf")], [float("nan"), float("inf")], Verdict.SAME_VALUES, ""),
        ([float("nan")], [1.0], Verdict.DIFFERENT, "[0]: the content differs"),
    ],
)
def test_json(one: Any, other: Any, verdict: Verdict, detail: str, tmp_path: Path) -> None:
    """Floats may differ within the tolerance; integers, texts, keys and lengths may not."""
    (tmp_path / "a.json").write_text(json.dumps(one))
    (tmp_path / "b.json").write_text(json.dumps(other, indent=3))
    comparison = compare(tmp_path / "a.json", tmp_path / "b.json", TOLERANCE)
    assert (comparison.verdict, comparison.detail) == (verdict, detail)


def test_folders(tmp_path: Path) -> None:
    """The verdict of a folder is the worst verdict of its files; a file that only one folder has makes it different."""
    for name in ("one", "other"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.json").write_text("[1]" if name == "one" else "[ 1 ]")
    assert compare(tmp_path / "one", tmp_path / "other", TOLERANCE).verdict is Verdict.SAME_VALUES
    (tmp_path / "other" / "new.txt").touch()
    comparison = compare(tmp_path / "one", tmp_path / "other", TOLERANCE)
    assert (comparison.verdict, comparison.detail) == (Verdict.DIFFERENT, "new.txt: only one of the two exists")


@pytest.mark.parametrize("save", [save_npz, save_keras])
def test_large_files(save: Callable[[Path, np.ndarray], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files are compared; a file that unpacks to far more than its size is not, and does not count as damaged."""
    monkeypatch.setattr(load_files, "MAX_UNPACKED", 1000)
    one, other = (tmp_path / f"{stem}.{save.__name__.removeprefix('save_')}" for stem in "ab")
    for path in (one, other):
        save(path, np.random.default_rng(0).random(10_000))
    assert compare(one, other, TOLERANCE).verdict is Verdict.SAME_VALUES
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(1_000_000))
    comparison = compare(one, other, TOLERANCE)
    assert (comparison.verdict, comparison.has_values) == (Verdict.DIFFERENT, False)
    start = "the bytes differ; the values are not compared: a file unpacks to 1,000,000 bytes, expected at most "
    assert comparison.detail.startswith(start)


def test_weights_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of a .keras file that are packed inside of it count unpacked."""
    monkeypatch.setattr(load_files, "MAX_UNPACKED", 1000)
    one, other = tmp_path / "a.keras", tmp_path / "b.keras"
    save_keras(one, np.ones(4))
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("w", (1000, 1000), "f8", chunks=(100, 100), fillvalue=1.0)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", weights.getvalue())
    comparison = compare(one, other, TOLERANCE)
    assert "the values are not compared: a file unpacks to 8,000,000 bytes" in comparison.detail
    assert not comparison.has_values


@pytest.mark.parametrize("zone", [None, "Europe/Vienna"])
def test_missing_times(zone: str | None, tmp_path: Path) -> None:
    """A missing time equals a missing time."""
    times = pd.Series(pd.to_datetime(["2026-01-01", "NaT"], utc=True)).dt.tz_convert(zone)
    one, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pd.DataFrame({"time": times}).to_parquet(one)
    pd.DataFrame({"time": times}).to_parquet(other, compression="gzip")
    assert compare(one, other, TOLERANCE).verdict is Verdict.SAME_VALUES
    pd.DataFrame({"time": times.fillna(times[0])}).to_parquet(other)
    assert compare(one, other, TOLERANCE).verdict is Verdict.DIFFERENT
