"""Labels and images of other layouts and types: what is certain is converted and said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.stages.own_data.conftest import Add
from tests.support.own_forms import samples

X, Y = samples(30, 1)


def save(folder: Path, **arrays: Any) -> Path:
    """Writes an npz file with the same training and test part."""
    np.savez(
        folder / "a.npz", allow_pickle=False, **{f"{n}_{p}": a for n, a in arrays.items() for p in ("train", "test")}
    )
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (Y[:, None].astype(np.int64), None, ""),
        (np.eye(3)[Y], None, "one-hot labels of 3 columns"),
        (np.eye(3, dtype=bool)[Y], None, "one-hot labels of 3 columns"),
        (Y.astype(np.float32), None, ""),
        (Y + 1, ["1", "2", "3"], "labels 1 to 3 become 0 to 2"),
        (np.array([3, 7, 50])[Y], ["3", "7", "50"], "labels 3, 7, 50 become 0 to 2"),
        (np.array([-1, 0, 1])[Y], ["-1", "0", "1"], "labels -1 to 1 become 0 to 2"),
        (np.array(["cat", "dog", "eel 2"])[Y], ["cat", "dog", "eel 2"], ""),
        (np.array([b"a", b"b", b"c"])[Y], ["a", "b", "c"], ""),
        (np.array(["0", "1", "2"])[Y], None, ""),
        (np.array(["01", "02", "03"])[Y], ["01", "02", "03"], ""),
    ],
)
def test_labels(tmp_path: Path, add: Add, labels: NDArray[Any], names: list[str] | None, said: str) -> None:
    """Labels of each form become 0, 1 and 2, and the classes keep their names."""
    added = add(save(tmp_path, x=X, y=labels))
    assert added.entry.get("class_names") == names
    restored = np.array(added.entry.get("class_names") or ["0", "1", "2"])[added.arrays["y_train"]]
    assert len(set(zip(restored.tolist(), Y.tolist(), strict=True))) == 3
    assert said in added.text


@pytest.mark.parametrize(
    ("images", "expected", "said"),
    [
        (X[:, None], X[..., None], "becomes the last"),
        (np.stack([X, X // 2, X // 3], 1), np.stack([X, X // 2, X // 3], -1), "becomes the last"),
        (np.stack([X, X, X, X], -1), np.stack([X, X, X], -1), "its transparency, was left out"),
        (np.moveaxis(X, 0, -1), X, "images lie along the last axis of (9, 12, 30)"),
        (X.astype(np.int64), X, "pixels of the type int64 are stored as uint8"),
        (X.astype(np.float64), X, "pixels of the type float64 are stored as uint8"),
        (X.astype(">u2") * 257, X.astype(np.uint16) * 257, "0 to 65535"),
        (X.astype(np.float32) / 255, X.astype(np.float32) / 255, "float32, 0 to 1"),
        (X.astype(np.float64) / 127.5 - 1, X.astype(np.float64) / 127.5 - 1, "float64, -1 to 1"),
        (X > 100, (X > 100).astype(np.uint8), "uint8, 0 to 1"),
        (X // 16, X // 16, "uint8, 0 to 15"),
    ],
)
def test_images(tmp_path: Path, add: Add, images: NDArray[Any], expected: NDArray[Any], said: str) -> None:
    """Images of each layout and type become those that the pipeline reads."""
    added = add(save(tmp_path, x=images, y=Y))
    assert added.arrays["x_train"].dtype == expected.dtype.newbyteorder("=")
    assert np.array_equal(added.arrays["x_train"], expected)
    assert said in added.text


def test_options_of_images(tmp_path: Path, add: Add) -> None:
    """Images are transposed, converted to grey and resized where the options say so, and the range can be given."""
    path = save(tmp_path, x=np.stack([X, X, X], -1), y=Y)
    assert np.array_equal(add(path, transpose=True, grey=True).arrays["x_train"], X.swapaxes(1, 2))
    assert add(path, size=[10, 8]).entry["shape"] == [10, 8, 3]
    flat = np.stack([X, X // 2, X // 3], 1).reshape(30, -1)
    added = add(save(tmp_path, x=flat, y=Y), shape=[3, 9, 12])
    assert np.array_equal(added.arrays["x_train"], np.stack([X, X // 2, X // 3], -1))
    added = add(save(tmp_path, x=X * 7.3 - 99, y=Y), pixels=[-100, 2000])
    assert added.entry["pixels"] == {"low": -100, "high": 2000}


def test_names_of_classes_can_be_given(tmp_path: Path, add: Add) -> None:
    """--class-names are those of the labels in their order."""
    assert add(save(tmp_path, x=X, y=Y + 1), class_names=["a", "b", "c"]).entry["class_names"] == ["a", "b", "c"]


def test_a_split_keeps_the_shares(tmp_path: Path, add: Add) -> None:
    """The test part has the share of each class; the seed chooses the images, and the same seed the same ones."""
    np.savez(tmp_path / "one.npz", allow_pickle=False, x=X, y=Y)
    first, again, other = (add(tmp_path / "one.npz", test_share=0.3, seed=seed) for seed in (1, 1, 2))
    assert np.bincount(first.arrays["y_test"]).tolist() == [3, 3, 3]
    assert first.entry["sha256"] == again.entry["sha256"] != other.entry["sha256"]
    both = np.concatenate([first.arrays["x_train"], first.arrays["x_test"]])
    assert sorted(map(bytes, both)) == sorted(map(bytes, X))


def test_contact_sheet(tmp_path: Path, add: Add) -> None:
    """The sheet is a PNG with a row a class; in the terminal each class has an image of coloured half blocks."""
    added = add(save(tmp_path, x=X, y=Y), sheet=str(tmp_path / "sheet.png"), colour="always")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 12 * 56 and sheet.height > 3 * 56
    assert added.text.count("\N{UPPER HALF BLOCK}") == 3 * 14 * 7
    assert "\x1b[38;2;" in added.text
