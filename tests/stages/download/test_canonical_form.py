"""Sources with equal digests give equal files, whatever the form of their arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.data.datasets import digest
from stages.download import source_digests
from tests.support.download_project import RAW, run_download, set_mirror
from tests.support.tiny_data import save, snapshot, tiny_arrays, write_params

Arrays = dict[str, NDArray[Any]]
X = ("x_train", "x_test")


def forms(kind: str) -> list[Arrays]:
    """Returns the same samples in two forms, with the same bytes."""
    plain = tiny_arrays()
    if kind != "image":
        random = np.random.default_rng(1)
        plain |= {name: random.integers(0, 50, (len(plain[name]), 9), np.uint32) for name in X}
    labels = {name: plain[name].view(np.int8) for name in ("y_train", "y_test")}
    images = {name: plain[name][..., None] if kind == "image" else plain[name].view(np.int32) for name in X}
    return [plain, labels | images]


@pytest.mark.parametrize("shape", [None, [8, 9], [8, 9, 1]])
def test_images(project: Path, monkeypatch: pytest.MonkeyPatch, shape: list[int] | None) -> None:
    """Grey images have two shapes, and labels several types; `shape` may have the axis of the channel."""
    written = []
    for arrays in forms("image"):
        save(set_mirror(project / "mirror", monkeypatch), arrays)
        write_params(project, tiny={} if shape is None else {"shape": shape})
        written.append(run_download())
    assert written[0] == written[1]
    with np.load(RAW / "dataset.npz") as arrays:
        assert (arrays["x_train"].shape, arrays["y_train"].dtype) == ((40, 8, 9), np.uint8)


def test_tokens(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers without a sign and with one are the same samples."""
    written = []
    for arrays in forms("tokens"):
        save(set_mirror(project / "mirror", monkeypatch), arrays)
        digests = {name: digest(array) for name, array in arrays.items()}
        write_params(project, tiny={"kind": "tokens", "vocabulary": 50, "sha256": digests})
        written.append(run_download())
    assert written[0] == written[1]


def test_wide_labels_keep_their_digests(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digests in params.yaml are those of the source, here of int64; what is written has small labels."""
    arrays = tiny_arrays()
    wide = arrays | {name: arrays[name].astype(np.int64) for name in ("y_train", "y_test")}
    digests = {name: digest(array) for name, array in wide.items()}
    save(set_mirror(project / "mirror", monkeypatch), wide)
    write_params(project, tiny={"sha256": digests})
    written = run_download()
    with np.load(RAW / "dataset.npz") as read:
        assert all(np.array_equal(read[name], array) and read[name].dtype == np.uint8 for name, array in arrays.items())
    capsys.readouterr()
    assert source_digests.main([]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == digests
    write_params(project, tiny={"sha256": digests | {"x_train": "0" * 64}})
    assert source_digests.main(["--out", "new"]) == 0
    assert snapshot(Path("new")) == written
