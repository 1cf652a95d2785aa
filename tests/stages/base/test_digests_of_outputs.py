"""Outputs are compared with dvc.lock: a damaged model is told from one that a person made or checked out."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from stages.base import timings
from stages.base.digests import (
    CACHE,
    GATES,
    TIMINGS,
    change_message,
    changed_outputs,
    file_md5,
    recorded_outputs,
)

MODEL, KERAS, TRAINING, HISTORY = (f"models/a/{name}" for name in ("model.onnx", "model.keras", "t.json", "h.csv"))
TRAINED = (MODEL, KERAS, TRAINING, HISTORY)
DOWNLOADED = ("data/raw/dataset.npz", "data/raw/dataset.json", "data/raw/groups.npz")
EVALUATED = ("evaluation/a/metrics.json", "evaluation/a/confusion.csv", "evaluation/a/predictions.parquet")
REPORTED = ("reports/gates.json", "reports/index.html", "reports/plots/recall.csv", "reports/models.json")
STAGES = {"train@a": TRAINED, "download": DOWNLOADED, "evaluate@a": EVALUATED, "report": REPORTED}


def entry(path: str, md5: str) -> str:
    """Returns an entry of dvc.lock as DVC writes it."""
    return f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: 1\n"


def record(root: Path, stages: Mapping[str, tuple[str, ...]] = STAGES) -> None:
    """Writes a dvc.lock that records the files as they are, a dependency, and a folder."""
    text = "schema: '2.0'\nstages:\n"
    for name, paths in stages.items():
        entries = "".join(entry(path, file_md5(root / path)) for path in paths)
        folder = entry("models/seeds", f"{'0' * 32}.dir")
        text += (
            f"  {name}:\n    cmd: python -m it\n    deps:\n{entry('data.npz', '0' * 32)}    outs:\n{entries}{folder}"
        )
    (root / "dvc.lock").write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose dvc.lock records its files as they are."""
    root = tmp_path / "project"
    for path in (path for paths in STAGES.values() for path in paths):
        change(root, path)
    record(root)
    assert changed_outputs(root, lambda _: True) == ([], [])
    return root


def change(root: Path, *paths: str, content: str = "") -> None:
    """Writes other files, as a person's run of a stage does."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{path} {content}")


def everything(root: Path) -> tuple[list[str], list[str]]:
    """Returns the damaged models and the other changed outputs of the project."""
    return changed_outputs(root, lambda _: True)


@pytest.mark.parametrize("is_silent", [True, False], ids=["of the same time", "newer"])
def test_a_model_that_nothing_explains_is_damaged(root: Path, is_silent: bool) -> None:
    """A changed bit is noticed also where it left the file's time, and the records are of the undamaged model."""
    timings.record("train", "a", root / MODEL, {"fit_s": 1.0}, root / TIMINGS)
    (root / GATES).write_text(json.dumps({"models": {"a": hashlib.sha256((root / MODEL).read_bytes()).hexdigest()}}))
    record(root)
    times = (root / MODEL).stat()
    change(root, MODEL, content="damaged")
    if is_silent:
        os.utime(root / MODEL, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert everything(root) == ([MODEL], [])
    assert changed_outputs(root, lambda path: path.endswith(".json")) == ([], [])
    (root / MODEL).unlink()
    assert everything(root) == ([], [])


@pytest.mark.parametrize("equal", [(), (KERAS, HISTORY), (KERAS, TRAINING, HISTORY)], ids=len)
def test_a_model_trained_by_hand_is_not_damaged(root: Path, equal: tuple[str, ...]) -> None:
    """After `python -m stages.train`, also with another export alone, the training's own record has the model."""
    change(root, *(path for path in TRAINED if path not in equal), content="trained again")
    timings.record("train", "a", root / MODEL, {"fit_s": 1.0}, root / TIMINGS)
    assert everything(root) == ([], [])
    change(root, MODEL, content="then damaged")
    assert everything(root)[0] == ([MODEL] if equal else [])


def test_a_model_of_another_name_is_not_explained(root: Path) -> None:
    """The record of another model's training does not explain the file."""
    change(root, MODEL, content="that of b")
    timings.record("train", "b", root / MODEL, {"fit_s": 1.0}, root / TIMINGS)
    assert everything(root) == ([MODEL], [])


@pytest.mark.parametrize("equal", [(), (KERAS, TRAINING, HISTORY)], ids=["other training", "other export"])
def test_a_model_of_another_commit_is_not_damaged(root: Path, equal: tuple[str, ...]) -> None:
    """After `git checkout` without `dvc checkout`, DVC's cache or the gates' record has the other commit's model."""
    different = [path for path in TRAINED if path not in equal]
    old = {path: (root / path).read_bytes() for path in different}
    md5 = file_md5(root / MODEL)
    change(root, *different, content="of this commit")
    record(root)
    for path, content in old.items():
        (root / path).write_bytes(content)
    if equal:
        assert everything(root) == ([MODEL], [])  # nothing has it
    (root / CACHE / md5[:2]).mkdir(parents=True)
    (root / CACHE / md5[:2] / md5[2:]).write_bytes(old[MODEL])
    assert everything(root) == ([], different)
    (root / GATES).write_text(json.dumps({"models": {"a": hashlib.sha256(old[MODEL]).hexdigest()}}))
    assert everything(root) == ([], [str(GATES)])


@pytest.mark.parametrize(
    ("paths", "equal"),
    [(DOWNLOADED, DOWNLOADED[2:]), (REPORTED, REPORTED[2:]), (EVALUATED, EVALUATED[1:2]), (TRAINED, ())],
)
def test_other_stages_run_by_hand_are_not_damaged(root: Path, paths: tuple[str, ...], equal: tuple[str, ...]) -> None:
    """Outputs that do not depend on what changed stay as recorded; the others are named as changed."""
    changed = [path for path in paths if path not in equal]
    change(root, *changed, content="by hand")
    assert everything(root) == ([], changed)


def test_a_stage_with_one_file_is_not_damaged(root: Path) -> None:
    """A model alone, or with a folder, has no file beside it that tells damage from a run by hand."""
    record(root, {"train": (MODEL,)})
    change(root, MODEL, content="by hand")
    assert everything(root) == ([], [MODEL])


def test_a_model_in_a_folder_of_a_repository(root: Path) -> None:
    """The cache is also found above the project."""
    change(root, MODEL, content="cached")
    md5, parent = file_md5(root / MODEL), root.parent
    (parent / CACHE / md5[:2]).mkdir(parents=True)
    (parent / CACHE / md5[:2] / md5[2:]).write_text("")
    assert everything(root) == ([], [MODEL])


@pytest.mark.parametrize(
    "form", ["  train:\n    wdir: sub\n", "  train:\n    foreach: [a]\n    do:\n      wdir: sub\n"]
)
def test_stages_with_a_folder_of_their_own_are_left_out(root: Path, form: str) -> None:
    """Their paths in dvc.lock are relative to the `wdir`, where another file of that name may be."""
    change(root, MODEL, content="of no stage")
    (root / "dvc.yaml").write_text(f"stages:\n{form}  report:\n    cmd: wdir\n")
    assert everything(root) == ([], [])
    assert len(recorded_outputs(root)) == 3
    (root / "dvc.yaml").write_text("stages: [wdir")
    assert everything(root) == ([MODEL], [])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"models": []}', '{"models": {"a": 1}}', '{"sha256": {}}'])
def test_records_that_explain_nothing(root: Path, content: str) -> None:
    """Broken records and those of another form are passed over."""
    (root / GATES).write_text(content)
    (root / TIMINGS).mkdir(parents=True)
    (root / TIMINGS / "train@a.json").write_text(content)
    change(root, MODEL, content="damaged")
    assert everything(root) == ([MODEL], [str(GATES)])


def test_only_outputs_that_are_files_are_compared(root: Path) -> None:
    """Dependencies and folders are not compared; without dvc.lock, or with a damaged one, nothing is."""
    assert [tuple(outputs) for outputs in recorded_outputs(root)] == list(STAGES.values())
    (root / "dvc.lock").write_bytes(b"\xff\x00: [")
    assert recorded_outputs(root) == []
    (root / "dvc.lock").unlink()
    assert recorded_outputs(root) == []


ONE, OTHER = "1" * 32, "2" * 32


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (entry("a", ONE) + entry("b", OTHER), [{"a": ONE, "b": OTHER}]),
        (f"    - md5: {ONE}\n      path: a\n", []),  # DVC writes the path first
        (f"    - path: a\n      md5: {ONE}0\n", []),
        (f"    - path: a\n      hash: {ONE}\n", []),
        (f"    - path: a\n    params:\n      md5: {ONE}\n    outs:\n      md5: {OTHER}\n", []),  # of no path
        (f"{entry('a', ONE)}  other:\n    cmd: it\n    deps:\n{entry('b', OTHER)}", [{"a": ONE}]),
        (f"{entry('a', ONE)}  other:\n    outs:\n{entry('b', OTHER)}", [{"a": ONE}, {"b": OTHER}]),
    ],
)
def test_lines_of_a_lock(tmp_path: Path, lines: str, expected: list[dict[str, str]]) -> None:
    """A hash belongs to the path before it, within the outputs of one stage; other lines are passed over."""
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  train:\n    cmd: it\n    outs:\n{lines}")
    assert recorded_outputs(tmp_path) == expected


def test_an_output_before_any_stage(tmp_path: Path) -> None:
    """Lines of a lock that begins in the middle are passed over."""
    (tmp_path / "dvc.lock").write_text(f"    outs:\n{entry('a', ONE)}")
    assert recorded_outputs(tmp_path) == []


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (1, "0 is not the file that dvc.lock records"),
        (2, "0, 1 are not the files that dvc.lock records"),
        (3, "0, 1, 2 are not the files that dvc.lock records"),
        (4, "0, 1, 2 and 1 more are not the files that dvc.lock records"),
        (6, "0, 1, 2 and 3 more are not the files that dvc.lock records"),
    ],
)
def test_three_outputs_are_named(count: int, sentence: str) -> None:
    """The sentence has the first three outputs and the number of the others."""
    assert change_message(map(str, range(count))) == (
        f"{sentence}: damaged, changed outside of a run, or of another commit"
    )
