"""Files of another version: its parameters and its dvc.lock may have been written by anybody."""

import errno
import os
from pathlib import Path

import pytest
from dvc.api import DVCFileSystem

from flows.core.errors import RevisionUnusable
from flows.dvc_repo.history.run_files import fetch_files, fetch_run, require_current
from stages.base.errors import InkflowError
from tests.conftest import Toy
from tests.support.code_history import commit

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "params",
    [
        "models: {../../../outside/deep: {}}\n",
        "models: {/tmp/outside/deep: {}}\n",
        "models: {1: {}}\n",
        "models: [cnn]\n",
        "models: {cnn: {}\n",
        "[1]\n",
        "",
        f"{BOMB}models: *h\n",
    ],
)
def test_the_models_of_a_version_are_names(toy: Toy, tmp_path: Path, params: str) -> None:
    """Other keys and text that is no YAML are one sentence, and nothing is written beside the target."""
    toy.write({"params.yaml": params, ".gitignore": ""})
    commit()
    before = set(tmp_path.iterdir())
    with pytest.raises(
        RevisionUnusable, match=r"^HEAD: its params.yaml names no models \(.*\); name a version of this"
    ):
        fetch_run(toy.folder, "HEAD", tmp_path / "target" / "deep")
    assert set(tmp_path.iterdir()) == before | {tmp_path / "target"}
    assert [path.name for path in (tmp_path / "target").rglob("*")] == ["deep", "params.yaml"]


def test_parameters_that_are_no_text(toy: Toy, tmp_path: Path) -> None:
    """Parameters that are no UTF-8 are one sentence."""
    (toy.folder / "params.yaml").write_bytes(b"models: {\xff: 1}\n")
    commit()
    with pytest.raises(RevisionUnusable, match=r"^HEAD: its params.yaml names no models \(cannot be read"):
        fetch_run(toy.folder, "HEAD", tmp_path / "target")


@pytest.mark.parametrize("name", ["../outside", "models/../../outside", "/etc/hostname"])
def test_paths_outside_of_the_project_are_not_copied(toy: Toy, tmp_path: Path, name: str) -> None:
    """A path that leaves the project is an error, and no file is written, although the file is there."""
    toy.write({"params.yaml": "", "../outside": "secret\n"})
    commit()
    with pytest.raises(RevisionUnusable, match="is no path inside the project"):
        fetch_files(toy.folder, "HEAD", {name: tmp_path / "target" / "copy"})
    assert not any(path.is_file() for path in (tmp_path / "target").rglob("*"))


def test_a_folder_is_no_file(toy: Toy, tmp_path: Path) -> None:
    """A folder in the place of a file is named, and none is made at the target."""
    toy.write({"params.yaml": "", "in/file": "one\n"})
    commit()
    with pytest.raises(RevisionUnusable, match=r"^HEAD: in is a folder, expected a file"):
        fetch_files(toy.folder, "HEAD", {"in": tmp_path / "target" / "copy"})
    assert not (tmp_path / "target" / "copy").exists()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EDQUOT, "free disk space"),
        (errno.EACCES, "fix the permissions"),
        (errno.EROFS, "choose a path on a writable file system"),
        (errno.EIO, "look at the health of the disk"),
    ],
)
def test_a_fault_of_the_machine_is_no_missing_file(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    """A full disk, or a file of the cache that cannot be read, is named with its remedy."""
    toy.write({"params.yaml": "models: {}\n", "in": "one\n"})
    commit()

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "the/file")

    monkeypatch.setattr(DVCFileSystem, "get_file", fail)
    expected = rf"^HEAD: \S+ cannot be copied: the/file: {os.strerror(number)}; {remedy}"
    with pytest.raises(InkflowError, match=expected):
        fetch_files(toy.folder, "HEAD", {"in": tmp_path / "target" / "copy"})
    with pytest.raises(InkflowError, match=expected):
        fetch_run(toy.folder, "HEAD", tmp_path / "target")


PIPELINE = """stages:
  train: {foreach: "${models}", do: {cmd: train, outs: ["models/${key}/model.onnx"]}}
  evaluate:
    foreach: ${models}
    do: {cmd: evaluate, deps: ["models/${key}/model.onnx"], outs: ["evaluation/${key}/metrics.json"]}
"""
LOCK = """schema: "2.0"
stages:
  train@a: {cmd: train, outs: [{path: models/a/model.onnx, hash: md5, md5: NOW}]}
  evaluate@a:
    cmd: evaluate
    deps: [{path: models/a/model.onnx, hash: md5, md5: READ}]
    outs: [{path: evaluation/a/metrics.json, hash: md5, md5: "00000000000000000000000000000001"}]
"""


def test_scores_of_other_weights_are_refused(toy: Toy, tmp_path: Path) -> None:
    """A version whose evaluation read another model than it has is refused, as is such a workspace; others are read."""
    for read, error in (("1" * 32, ""), ("2" * 32, "evaluate@a read another models/a/model.onnx than")):
        lock = LOCK.replace("NOW", f"'{'1' * 32}'").replace("READ", f"'{read}'")
        toy.write({"params.yaml": "models: {a: {}}\n", "dvc.yaml": PIPELINE, "dvc.lock": lock, ".gitignore": ""})
        commit()
        if read.startswith("1"):
            require_current(toy.folder)
            with pytest.raises(RevisionUnusable, match="neither in git, the cache nor a remote"):
                fetch_run(toy.folder, "HEAD", tmp_path / "target")
            continue
        with pytest.raises(RevisionUnusable, match=f"^HEAD: {error} .*; check that version out and run `inkflow run`"):
            fetch_run(toy.folder, "HEAD", tmp_path / "target")
        with pytest.raises(RevisionUnusable, match=f"^workspace: {error} .*; run `inkflow run`$"):
            require_current(toy.folder)
