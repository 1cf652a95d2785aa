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
import pyarrow as pa
import pyarrow.parquet as pq
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


def test_folders_with_files_of_other_formats(tmp_path: Path) -> None:
    """Values that differ are named before bytes that differ, in whatever order the files are."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for path in ("a.png", "b.csv", "c.png"):
            (tmp_path / name / path).write_text(name)
    comparison = compare(tmp_path / "one", tmp_path / "other", TOLERANCE)
    assert comparison.has_values and comparison.detail.startswith("b.csv: ")


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.DataFrame({"x": [1, 2]}, index=["a", "b"]), pd.DataFrame({"x": [1, 2]}, index=["a", "c"])),
        (pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [1, 2]}, index=range(3, 5))),
        (pa.table({"x": [1_000_000_001, None]}), pa.table({"x": [1_000_000_002, None]})),
        (
            pd.DataFrame({"x": pd.array([1_000_000_001, None], "Int64")}),
            pd.DataFrame({"x": pd.array([1_000_000_002, None], "Int64")}),
        ),
    ],
)
def test_tables_that_differ(one: Any, other: Any, tmp_path: Path) -> None:
    """The index of a table counts, and integers beside missing ones are exact."""
    for name, table in (("one", one), ("other", other)):
        arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table)
        pq.write_table(arrow, tmp_path / f"{name}.parquet")
        pq.write_table(arrow, tmp_path / f"{name}_packed.parquet", compression="gzip")
    paths = [tmp_path / f"{name}.parquet" for name in ("one", "other", "one_packed")]
    assert compare(paths[0], paths[1], TOLERANCE).verdict is Verdict.DIFFERENT
    assert compare(paths[0], paths[2], TOLERANCE).verdict is Verdict.SAME_VALUES


def test_a_table_of_another_writer(tmp_path: Path) -> None:
    """An index that only counts the rows is none."""
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1, 2]}), one)
    pd.DataFrame({"x": [1, 2]}).to_parquet(other)
    assert compare(one, other, TOLERANCE).verdict is Verdict.SAME_VALUES


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("007", "7", Verdict.DIFFERENT),
        ("2024_01", "202401", Verdict.DIFFERENT),
        ("007.5", "7.5", Verdict.DIFFERENT),
        ("+1", "1", Verdict.DIFFERENT),
        ("1e-3", "0.001", Verdict.SAME_VALUES),
        ("-0.5", "-.5", Verdict.SAME_VALUES),
        (" 7", "7.0", Verdict.SAME_VALUES),
        ("NaN", "nan", Verdict.SAME_VALUES),
        ("9" * 400, "8" * 400, Verdict.DIFFERENT),
    ],
)
def test_cells(one: str, other: str, verdict: Verdict, tmp_path: Path) -> None:
    """Forms of one number are equal; names of digits are texts."""
    (tmp_path / "a.csv").write_text(f"x\n{one}\n")
    (tmp_path / "b.csv").write_text(f"x\n{other}\n")
    assert compare(tmp_path / "a.csv", tmp_path / "b.csv", TOLERANCE).verdict is verdict


def test_repeated_keys(tmp_path: Path) -> None:
    """A key that is there twice hides no value: the sentence names it."""
    (tmp_path / "a.json").write_text('{"x": 1, "x": 2}')
    (tmp_path / "b.json").write_text('{"x": 2}')
    comparison = compare(tmp_path / "a.json", tmp_path / "b.json", TOLERANCE)
    assert (comparison.verdict, comparison.has_values) == (Verdict.DIFFERENT, True)
    assert comparison.detail.endswith("a file cannot be read as .json: 'x' is there twice")


def test_assets_of_a_model(tmp_path: Path) -> None:
    """A vocabulary beside the weights of a .keras file is compared; the date is not."""
    paths = []
    for stem, words in (("a", "cat"), ("b", "dog"), ("c", "cat")):
        paths.append(tmp_path / f"{stem}.keras")
        save_keras(paths[-1], np.ones(4))
        with zipfile.ZipFile(paths[-1], "a") as archive:
            archive.writestr("assets/layers/words.txt", words)
    found = [compare(paths[0], path, TOLERANCE) for path in paths[1:]]
    assert [item.verdict for item in found] == [Verdict.DIFFERENT, Verdict.SAME_VALUES]
    assert found[0].detail.startswith("assets/layers/words.txt: ")


def test_functions_of_a_model(tmp_path: Path) -> None:
    """A function that an ONNX model defines for its nodes is compared."""
    for stem, kind in (("a", "Relu"), ("b", "Sigmoid"), ("c", "Relu")):
        save_onnx(tmp_path / f"{stem}.onnx", np.ones(4))
        model = onnx.load(tmp_path / f"{stem}.onnx")
        opset = [onnx.helper.make_opsetid("", 17)]
        node = onnx.helper.make_node(kind, ["x"], ["y"])
        model.functions.append(onnx.helper.make_function("own", "f", ["x"], ["y"], [node], opset))
        onnx.save(model, tmp_path / f"{stem}.onnx")
    verdicts = [compare(tmp_path / "a.onnx", tmp_path / f"{stem}.onnx", TOLERANCE).verdict for stem in "bc"]
    assert verdicts == [Verdict.DIFFERENT, Verdict.SAME_VALUES]


@pytest.mark.parametrize("same", [True, False])
def test_other_names_of_nodes_and_weights(same: bool, tmp_path: Path) -> None:
    """Two exports of one network differ in names; whether the weights differ is told apart."""
    save_onnx(tmp_path / "a.onnx", np.ones(4))
    save_onnx(tmp_path / "b.onnx", np.ones(4) if same else np.zeros(4))
    model = onnx.load(tmp_path / "b.onnx")
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "dense/weights"
    onnx.save(model, tmp_path / "b.onnx")
    comparison = compare(tmp_path / "a.onnx", tmp_path / "b.onnx", TOLERANCE)
    assert (comparison.verdict, comparison.same_weights) == (Verdict.DIFFERENT, same)
