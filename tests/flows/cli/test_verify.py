"""`inkflow verify`: which stages run again, how their outputs compare, and that nothing else changes."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # comes with Keras
import numpy as np
import onnx
import pandas as pd
import pytest

from flows.cli.main import main
from flows.core.errors import StageFailed
from stages.base.errors import InvalidInput
from stages.verify.compare_files import Verdict, compare
from tests.conftest import Toy, run_engine, wait_until
from tests.support.root import ROOT

TOLERANCE = 1e-6
GRAPH = """
stages:
  exact:
    cmd: echo exact >> $INKFLOW_TEST_RUNS; cp in exact.txt
    deps: [in]
    outs: [exact.txt]
  reordered:
    cmd: echo reordered >> $INKFLOW_TEST_RUNS; python write.py reordered
    deps: [exact.txt, write.py]
    outs: [reordered.json]
  noisy:
    cmd: echo noisy >> $INKFLOW_TEST_RUNS; python write.py noisy
    deps: [exact.txt, write.py]
    metrics:
      - noisy.json:
          cache: false
  random:
    cmd: echo random >> $INKFLOW_TEST_RUNS; python write.py random
    deps: [reordered.json, write.py]
    outs: [random]
"""
WRITE = """
import json, os, pathlib, random, sys, time
name = sys.argv[1]
time.sleep(float(os.environ.get("INKFLOW_TEST_PAUSE", 0)))
if name == "reordered":
    keys = random.sample(range(50), 50)
    pathlib.Path("reordered.json").write_text(json.dumps({f"k{key}": key / 3 for key in keys}))
elif name == "noisy":
    pathlib.Path("noisy.json").write_text(json.dumps({"loss": 0.5 + 1e-9 * random.random(), "n": 3}))
else:
    pathlib.Path("random").mkdir()
    pathlib.Path("random/same.txt").write_text("same")
    pathlib.Path("random/numbers.json").write_text(json.dumps([1, random.random()]))
"""


class Verified(Toy):
    """A committed project that is up to date, whose stages log their runs in a file outside of it."""

    def __init__(self, folder: Path, log: Path) -> None:
        super().__init__(folder)
        self._log = log
        self.write({"dvc.yaml": GRAPH, "write.py": WRITE, "in": "one\n", "params.yaml": "{}\n"})
        self.write({".gitignore": "/exact.txt\n/reordered.json\n/random\n/.inkflow\n"})
        run_engine()
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "begin")
        self._log.unlink()

    def git(self, *arguments: str) -> str:
        """Runs git in the project and returns its output."""
        return subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def runs_again(self) -> list[str]:
        """Returns the names of the stages that ran since the project was created."""
        return sorted(self._log.read_text().split()) if self._log.exists() else []

    def state(self) -> tuple[dict[str, bytes], str]:
        """Returns the bytes of every file outside of git's and DVC's internal folders, and git's status."""
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.relative_to(self.folder).parts[:2] not in {(".dvc", "tmp")}
            if path.relative_to(self.folder).parts[0] not in {".git", ".inkflow"}
        }
        return files, self.git("status", "--porcelain")

    def left_behind(self) -> list[str]:
        """Returns the clean folders that still exist."""
        return [path.name for path in (self.folder / ".dvc/tmp/inkflow").glob("*") if (path / ".git").exists()]


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verified]:
    """The project, which is also the current folder; restores the signal handlers afterwards."""
    folder = tmp_path / "verified"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INKFLOW_TEST_RUNS", str(tmp_path / "runs"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Verified(folder, tmp_path / "runs")
    for number, handler in handlers.items():
        signal.signal(number, handler)


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Returns the verdicts that `--json` printed, by output."""
    return {row["output"]: row["verdict"] for row in json.loads(capsys.readouterr().out)["outputs"]}


def test_everything(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage runs again although the cache has its outputs; each gets a verdict; the workspace is unchanged."""
    before = verified.state()
    assert main(["verify", "--json"]) == 1
    assert verdicts(capsys) == {
        "exact.txt": "same bytes",
        "reordered.json": "same values",
        "noisy.json": "within tolerance",
        "random": "different",
    }
    assert verified.runs_again() == ["exact", "noisy", "random", "reordered"]
    assert (verified.state(), verified.left_behind()) == (before, [])


def test_named_stages_alone(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the named stages run, on the inputs in the workspace; stages between them keep their outputs."""
    assert main(["verify", "exact", "noisy", "--json"]) == 0
    assert verdicts(capsys) == {"exact.txt": "same bytes", "noisy.json": "within tolerance"}
    assert verified.runs_again() == ["exact", "noisy"]
    assert main(["verify", "exact", "random", "--json"]) == 1
    assert verified.runs_again() == ["exact", "exact", "noisy", "random"]
    assert main(["verify", "noisy", "--tolerance", "1e-15", "--json"]) == 1


def test_table(verified: Verified, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has a line for each output, the largest difference, and counts; no word is broken."""
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["verify", "exact", "random"]) == 1
    output = capsys.readouterr().out
    assert "numbers.json: [1]: differs by" in output
    assert "  same bytes        exact.txt\n" in output
    assert "2 outputs: 1 same bytes, 1 different" in output


def test_uncommitted_and_untracked_inputs(verified: Verified, capsys: pytest.CaptureFixture[str]) -> None:
    """Stages run on the workspace as it is, with uncommitted edits and untracked inputs."""
    graph = GRAPH.replace("deps: [in]", "deps: [in, notes]").replace("cp in exact.txt", "cat in notes > exact.txt")
    verified.write({"in": "edited\n", "notes": "untracked\n", "dvc.yaml": graph})
    run_engine("exact")
    assert main(["verify", "exact", "--json"]) == 0
    assert verdicts(capsys) == {"exact.txt": "same bytes"}


def test_workspace_must_be_up_to_date(verified: Verified) -> None:
    """Outputs of other inputs are an error of one sentence that names the command to run; no stage runs."""
    verified.write({"in": "edited\n"})
    with pytest.raises(InvalidInput, match=r"not up to date.*: exact; `inkflow run exact` first, then verify"):
        main(["verify", "exact"])
    assert verified.runs_again() == []


def test_failure(verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a stage fails in the second run, its own message is reported and no folder is left."""
    monkeypatch.setenv("INKFLOW_TEST_PAUSE", "soon")
    before = verified.state()
    with pytest.raises(StageFailed, match=r"noisy failed .*could not convert"):
        main(["verify", "noisy"])
    assert (verified.state(), verified.left_behind()) == (before, [])


def test_interrupt(verified: Verified) -> None:
    """Ctrl-C ends the running stages and removes the clean folder; the workspace does not change."""
    before = verified.state()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "INKFLOW_TEST_PAUSE": "300"}
    command = [sys.executable, "-m", "flows", "verify"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as verify:
        wait_until(lambda: "noisy" in verified.runs_again() or "reordered" in verified.runs_again(), timeout_s=60)
        verify.send_signal(signal.SIGINT)
        _, errors = verify.communicate(timeout=60)
    assert (verify.returncode, errors) == (130, "interrupted\n")
    assert (verified.state(), verified.left_behind()) == (before, [])


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
