"""Files of images get the labels of the same name; what is not certain is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.own_data.conftest import Add, Refuse
from tests.support.own_forms import samples, write_idx

FIRST, SECOND = samples(20, 1), (samples(20, 2)[0], samples(20, 1)[1][::-1].copy())  # equal numbers, other labels
NAMES = [
    ("images", "labels", "images_extra", "extra_labels"),  # sorted: extra_labels, images, images_extra, labels
    ("images2", "labels2", "images10", "labels10"),
    ("x_a", "y_a", "x_b", "y_b"),
    ("imagesA", "a labels", "imagesB", "b-labels"),
    ("images_ж", "labels_ж", "images_ü", "labels_ü"),
    ("x_train", "y_train", "x_val", "y_val"),
]
UNCERTAIN = [
    (("images1", "one_labels", "images2", "two_labels"), "none of one_labels.npy, two_labels.npy has the same name"),
    (("images", "labels", "pictures", "targets"), "images.npy and pictures.npy have the same name without the words"),
    (("images_a", "labels_a", "images_b", "labels_c"), "images_b.npy: none of labels_a.npy, labels_c.npy has the same"),
]


def write(folder: Path, names: tuple[str, str, str, str]) -> Path:
    """Writes images and labels of both samples as npy files of these names."""
    folder.mkdir()
    for name, array in zip(names, (*FIRST, *SECOND), strict=True):
        np.save(folder / f"{name}.npy", array)
    return folder


def check(x: NDArray[Any], y: NDArray[Any]) -> None:
    """Each image has its own label."""
    own = {bytes(image): label for pair in (FIRST, SECOND) for image, label in zip(*pair, strict=True)}
    assert len(x) == 40
    assert [own[bytes(image)] for image in x] == y.tolist()


@pytest.mark.parametrize("names", NAMES)
def test_pairs_have_one_name(tmp_path: Path, add: Add, names: tuple[str, str, str, str]) -> None:
    """With several files of images and labels, each image keeps its own label, whatever the order of the files."""
    added = add(write(tmp_path / "in", names), test=[str(write(tmp_path / "test", names))])
    check(added.arrays["x_train"], added.arrays["y_train"])
    check(added.arrays["x_test"], added.arrays["y_test"])


def test_pairs_of_equal_names_in_several_folders(tmp_path: Path, add: Add) -> None:
    """Files with the standard names of MNIST in two folders: a file has its partner in its own folder."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, (images, labels) in zip(folders, (FIRST, SECOND), strict=True):
        write_idx(folder / "train-images-idx3-ubyte", images)
        write_idx(folder / "train-labels-idx1-ubyte", labels)
    added = add(*folders, test=list(map(str, folders)))
    check(added.arrays["x_train"], added.arrays["y_train"])


def test_pairs_of_idx(tmp_path: Path, add: Add) -> None:
    """The numbers of axes in the names of IDX files do not count."""
    for name, (images, labels) in (("letters", FIRST), ("digits-2", SECOND)):
        write_idx(tmp_path / "in" / f"emnist-{name}-train-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "in" / f"emnist-{name}-train-labels-idx1-ubyte.gz", labels)
    added = add(tmp_path / "in", test=[str(tmp_path / "in")])
    check(added.arrays["x_train"], added.arrays["y_train"])


@pytest.mark.parametrize(("names", "message"), UNCERTAIN)
def test_pairs_that_are_not_certain(
    tmp_path: Path, refuse: Refuse, names: tuple[str, str, str, str], message: str
) -> None:
    """Names that do not tell which labels belong to which images are refused."""
    assert message in refuse(write(tmp_path / "in", names))


def test_labels_of_another_part(tmp_path: Path, refuse: Refuse) -> None:
    """The labels of the training part are not those of the validation part."""
    folder = write(tmp_path / "in", ("x_val", "y_train", "x_test", "y_test"))
    assert "has labels alone, and no file has their images" in refuse(folder)
