"""Results of two machines whose files dvc.lock are written by the test: outputs of many names, some stages alone."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.machines.comparison import compare_machines
from tests.conftest import Toy

Outputs = Mapping[str, Mapping[str, bytes]]  # contents by stage and path


def md5(content: bytes) -> str:
    """Returns the hash that DVC uses."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write(lock: Path, cache: Path, outputs: Outputs, reads: Mapping[str, str]) -> None:
    """Writes a dvc.lock, and the contents into DVC's cache; a stage may read the output of another one."""
    lock.parent.mkdir(exist_ok=True)
    hashes = {path: md5(content) for outs in outputs.values() for path, content in outs.items()}
    stages = {
        stage: {
            "cmd": "make",
            "deps": [{"path": reads[stage], "md5": hashes[reads[stage]]}] if stage in reads else [],
            "outs": [{"path": path, "md5": md5(content)} for path, content in outs.items()],
        }
        for stage, outs in outputs.items()
    }
    lock.write_text(json.dumps({"schema": "2.0", "stages": stages}))
    for content in (content for outs in outputs.values() for content in outs.values()):
        path = cache / "files/md5" / md5(content)[:2] / md5(content)[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def compared(toy: Toy, here: Outputs, there: Outputs, *stages: str, **reads: str) -> dict[str, Any]:
    """Returns how two machines compare; of all stages, or of some."""
    write(toy.folder / "dvc.lock", toy.folder / ".dvc/cache", here, reads)
    write(toy.folder / "other/dvc.lock", toy.folder / ".dvc/cache", there, reads)
    found = compare_machines(toy.folder, str(toy.folder / "other"), stages, 1e-6)
    found["verdicts"] = {(row["stage"], row["output"]): row["verdict"] for row in found["outputs"]}
    return found


def test_outputs_of_one_name(toy: Toy) -> None:
    """Stages that write one name, each into its own folder, have a row each; one of an older dvc.yaml has none."""
    group = "{foreach: [a, b], do: {cmd: make, wdir: '${item}', outs: [out.json]}}"
    toy.write({"dvc.yaml": f"stages: {{s: {group}, new: {{cmd: make}}}}\n"})
    names = ["s@a", "s@b", "old", "new"]
    paths = ["out.json", "out.json", "x.json", "x.json"]
    sides = [
        {name: {path: content} for name, path, content in zip(names, paths, contents, strict=True)}
        for contents in ([b"[1]", b"[3]", b"[4]", b"[6]"], [b"[2]", b"[ 3]", b"[5]", b"[ 6]"])
    ]
    found = compared(toy, sides[0], sides[1])
    assert found["verdicts"] == {
        ("s@a", "a/out.json"): "different",
        ("s@b", "b/out.json"): "value-equal",
        ("new", "x.json"): "value-equal",
    }


def test_records_of_trainings(toy: Toy) -> None:
    """Only training.json of a model's folder has keys of the machine; elsewhere `precision` may be a score."""
    names = ("models/a/training.json", "results/training.json")
    sides = [{"s": dict.fromkeys(names, b'{"n": 1, "precision": %d}' % score)} for score in (91, 55)]
    found = compared(toy, sides[0], sides[1])
    assert list(found["verdicts"].values()) == ["value-equal", "different"]
    assert [item["stage"] for item in found["environment"]] == ["s"]


@pytest.mark.farm
def test_some_stages_alone(toy: Toy) -> None:
    """Notes and tests are those of the named stages; a stage that reads from one that differs is explained by it."""

    def outputs(mark: bytes) -> Outputs:
        models = {f"train@{name}": {f"models/{name}/model.onnx": mark + name.encode()} for name in "ab"}
        return models | {f"evaluate@{name}": {f"evaluation/{name}/predictions.parquet": mark} for name in "ab"}

    reads = {f"evaluate@{name}": f"models/{name}/model.onnx" for name in "ab"}
    found = compared(toy, outputs(b"1"), outputs(b"2"), "evaluate@a", **reads)
    assert (list(found["models"]), found["notes"], len(found["outputs"])) == (["a"], [], 1)
