"""Outputs are compared with dvc.lock, so that a damaged file is not taken for a result."""

import hashlib
from pathlib import Path

from stages.base.digests import damaged_outputs, recorded_outputs

LOCK = """schema: '2.0'
stages:
  train:
    cmd: python -m train --out models
    deps:
    - path: data.npz
      hash: md5
      md5: 00000000000000000000000000000000
    outs:
    - path: models/a.onnx
      hash: md5
      md5: {a}
      size: 1
    - path: models/b.json
      hash: md5
      md5: {b}
      size: 1
    - path: models/seeds
      hash: md5
      md5: 00000000000000000000000000000000.dir
"""


def project(folder: Path) -> Path:
    """Makes a project whose dvc.lock records two files of one stage."""
    (folder / "models").mkdir()
    for name in ("a.onnx", "b.json"):
        (folder / "models" / name).write_text(name[0])
    hashes = {name: hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in "ab"}
    (folder / "dvc.lock").write_text(LOCK.format(**hashes))
    return folder


def test_a_changed_file_beside_recorded_ones_is_damaged(tmp_path: Path) -> None:
    """One output that differs is damaged; where all differ, a person has run the stage; a missing one is no damage."""
    root = project(tmp_path)
    assert damaged_outputs(root, lambda _: True) == []
    (root / "models/a.onnx").write_text("A")
    assert damaged_outputs(root, lambda _: True) == ["models/a.onnx"]
    assert damaged_outputs(root, lambda path: path.endswith(".json")) == []
    (root / "models/b.json").write_text("B")
    assert damaged_outputs(root, lambda _: True) == []
    (root / "models/b.json").write_text("b")
    (root / "models/a.onnx").unlink()
    assert damaged_outputs(root, lambda _: True) == []


def test_only_outputs_that_are_files_are_compared(tmp_path: Path) -> None:
    """Dependencies and folders are not compared; without dvc.lock, or with a damaged one, nothing is."""
    root = project(tmp_path)
    assert [sorted(outputs) for outputs in recorded_outputs(root)] == [["models/a.onnx", "models/b.json"]]
    (root / "dvc.lock").write_bytes(b"\xff\x00: [")
    assert recorded_outputs(root) == []
    (root / "dvc.lock").unlink()
    assert recorded_outputs(root) == []
