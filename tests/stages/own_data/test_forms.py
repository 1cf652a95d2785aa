"""Each form of data becomes the same four arrays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image

from stages.data.config import Dataset
from stages.data.datasets import digest
from tests.stages.own_data.conftest import Add, Added
from tests.support.http_server import Server, serve
from tests.support.own_forms import (
    SHAPE,
    idx_bytes,
    samples,
    write_csv,
    write_idx,
    write_parquet,
    write_pictures,
    write_svhn,
)

TRAIN, TEST = samples(30, 1), samples(12, 2)
NAMES = ("red fox", "Ähre", "10")


def check(added: Added) -> None:
    """The arrays are TRAIN and TEST, and the entry describes them, with their digests."""
    for name, expected in zip(("x_train", "y_train", "x_test", "y_test"), (*TRAIN, *TEST), strict=True):
        assert np.array_equal(added.arrays[name], expected), name
        assert added.entry["sha256"][name] == digest(added.arrays[name])
    assert added.entry["shape"] == list(SHAPE)
    assert added.entry["classes"] == 3
    Dataset.model_validate({"title": "x", "path": "x.npz", **added.entry})
    assert "30 training and 12 test images, 9 x 12, grey, uint8, 0 to 255, 3 classes" in added.text


def test_npz_with_other_names(tmp_path: Path, add: Add) -> None:
    """Names of arrays that are known, and names that the options give, are read; other arrays are not."""
    names = dict(zip(("train_images", "trainLabels", "test.X", "ytest"), (*TRAIN, *TEST), strict=True))
    np.savez_compressed(tmp_path / "known.npz", allow_pickle=False, **names, authors=np.zeros(3))
    check(add(tmp_path / "known.npz"))
    np.savez(tmp_path / "any.npz", a=TRAIN[0], b=TRAIN[1], c=TEST[0], d=TEST[1])
    check(add(tmp_path / "any.npz", x_train="a", y_train="b", x_test="c", y_test="d"))


def test_a_validation_part_is_for_training(tmp_path: Path, add: Add) -> None:
    """Arrays of a third part, as MedMNIST has them, are appended to the training part."""
    (x, y), (x_test, y_test) = TRAIN, TEST
    parts = {"train_images": x[:20], "val_images": x[20:], "test_images": x_test}
    labels = {"train_labels": y[:20, None], "val_labels": y[20:, None], "test_labels": y_test[:, None]}
    np.savez(tmp_path / "medmnist.npz", allow_pickle=False, **parts, **labels)
    check(add(tmp_path / "medmnist.npz"))


def test_npy_files(tmp_path: Path, add: Add) -> None:
    """Single arrays belong together by the names of their files; options of the order are not needed."""
    for name, array in zip(("x_train", "y_train", "x_test", "y_test"), (*TRAIN, *TEST), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    check(add(*(tmp_path / f"{name}.npy" for name in ("y_test", "x_train", "x_test", "y_train"))))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path: Path, add: Add, suffix: str) -> None:
    """The four files of MNIST's original form are read, packed or not, also as a folder with both, as torchvision's."""
    parts = zip(("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"), (*TRAIN, *TEST), strict=True)  # fmt: skip  # noqa: E501
    files = [write_idx(tmp_path / "raw" / f"{name}-ubyte{suffix}", array) for name, array in parts]
    check(add(*files))
    write_idx(tmp_path / "raw" / "train-images-idx3-ubyte", TRAIN[0])
    check(add(tmp_path / "raw"))


def test_labels_of_qmnist(tmp_path: Path, add: Add) -> None:
    """Of QMNIST's rows of labels, the first column is the class."""
    rows = np.stack([TRAIN[1].astype(np.int32), np.arange(30, dtype=np.int32)], axis=1)
    (tmp_path / "labels-idx2-int").write_bytes(idx_bytes(rows, 0x0C, ">i4"))
    write_idx(tmp_path / "images-idx3-ubyte", TRAIN[0])
    added = add(tmp_path / "images-idx3-ubyte", tmp_path / "labels-idx2-int", test_share=0.1)
    assert added.entry["classes"] == 3


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("separator", [",", ";", " "])
def test_csv(tmp_path: Path, add: Add, header: bool, separator: str) -> None:
    """A label and pixels a line are read, with and without a header, for each usual separator."""
    files = [write_csv(tmp_path / f"{part}.csv", *data, header, separator) for part, data in (("train", TRAIN), ("test", TEST))]  # fmt: skip  # noqa: E501
    check(add(*files, shape=SHAPE, **({} if header else {"label": "0"})))


def test_csv_with_the_label_last(tmp_path: Path, add: Add) -> None:
    """Without a header the label is found where only one of the outer columns has few values; a square is inferred."""
    images, labels = samples(200, 3, shape=(10, 10))
    table = np.column_stack([images.reshape(200, -1), labels])
    np.savetxt(tmp_path / "a.data", table, "%d", ",")
    added = add(tmp_path / "a.data", test=[str(tmp_path / "a.data")])
    assert np.array_equal(added.arrays["x_train"], images)
    assert np.array_equal(added.arrays["y_test"], labels)
    assert "rows of 100 pixels become images of 10 x 10" in added.text


def test_csv_leaves_out_what_is_no_pixel(tmp_path: Path, add: Add) -> None:
    """A column of ids is left out and named; labels may be texts, whose order is that of their names."""
    frame = pd.DataFrame(TRAIN[0].reshape(30, -1))
    frame.insert(0, "id", np.arange(30))
    frame["Class"] = np.array(["b", "a", "c"])[TRAIN[1]]
    frame.to_csv(tmp_path / "all.csv", index=False)
    added = add(tmp_path / "all.csv", test=[str(tmp_path / "all.csv")], shape=SHAPE)
    assert np.array_equal(added.arrays["x_train"], TRAIN[0])
    assert added.arrays["y_train"].tolist() == [1, 0, 2] * 10
    assert added.entry["class_names"] == ["a", "b", "c"]
    assert "no pixels, and left out: id" in added.text


def test_csv_with_a_column_of_true_and_false(tmp_path: Path, add: Add) -> None:
    """True and False beside other numbers are 1 and 0, and the other numbers stay as they are."""
    header = ",".join(["label", *(f"pixel{number}" for number in range(64))])
    lines = [f"{label},{label == 1},0.5,0.25{',1.0' * 61}" for label in (0, 1) * 10]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
    images = add(tmp_path / "a.csv", test=[str(tmp_path / "a.csv")]).arrays["x_train"].reshape(20, 64)
    assert images[:2, :4].tolist() == [[0, 0.5, 0.25, 1], [1, 0.5, 0.25, 1]]


def test_csv_of_pandas(tmp_path: Path, add: Add) -> None:
    """The names of pandas, an index without a name and numbers as columns, are a header."""
    frame = pd.DataFrame(TRAIN[0].reshape(30, -1))
    frame.insert(0, "label", TRAIN[1])
    frame.to_csv(tmp_path / "all.csv")
    added = add(tmp_path / "all.csv", test=[str(tmp_path / "all.csv")], shape=SHAPE)
    assert np.array_equal(added.arrays["x_train"], TRAIN[0])
    assert np.array_equal(added.arrays["y_train"], TRAIN[1])
    assert "left out: a column without a name" in added.text


@pytest.mark.parametrize(("first", "index"), [(0, False), (0, True), (1, False)])
def test_csv_header_of_numbers(tmp_path: Path, add: Add, first: int, index: bool) -> None:
    """The header that pandas writes for columns without names is no image, with an index and without."""
    images, labels = samples(200, 3, shape=(10, 10))
    table = np.column_stack([labels, images.reshape(200, -1)])
    frame = pd.DataFrame(table, columns=range(first, first + 101))
    frame.to_csv(tmp_path / "a.csv", index=index)
    added = add(tmp_path / "a.csv", test=[str(tmp_path / "a.csv")])
    assert np.array_equal(added.arrays["x_train"], images)
    assert np.array_equal(added.arrays["y_train"], labels)
    assert added.entry.get("pixels") is None
    assert f"the first line, {first}, {first + 1}, {first + 2}, {first + 3}, " in added.text
    named = add(tmp_path / "a.csv", test=[str(tmp_path / "a.csv")], label=str(first))
    assert named.entry == added.entry


def test_csv_that_pandas_read_without_a_header(tmp_path: Path, add: Add) -> None:
    """An image that pandas took for a header has names such as 7.1: they are no pixels."""
    images, labels = samples(200, 3, shape=(10, 10))
    images[0] //= 64
    np.savetxt(tmp_path / "a.csv", np.column_stack([labels, images.reshape(200, -1)]), "%d", ",")
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "a.csv", index=False)
    added = add(tmp_path / "a.csv", test=[str(tmp_path / "a.csv")])
    assert np.array_equal(added.arrays["x_train"], images[1:])
    assert "is a header of numbers" in added.text


@pytest.mark.parametrize("form", ["png", "bmp", "gif"])
def test_folders_of_pictures(tmp_path: Path, add: Add, form: str) -> None:
    """Folders a class below train and test give images and names of classes; foreign files are left out and named."""
    for part, (images, labels) in (("Train", TRAIN), ("test", TEST)):
        order = np.argsort([sorted(NAMES, key=str.lower).index(NAMES[label]) for label in labels], kind="stable")
        write_pictures(tmp_path / "pets" / part, images[order], labels[order], NAMES, form)
    (tmp_path / "pets" / "Train" / "10" / "notes.txt").write_text("hello")
    (tmp_path / "pets" / "Train" / "10" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    added = add(tmp_path / "pets")
    assert added.entry["class_names"] == ["10", "red fox", "Ähre"]
    assert added.arrays["y_train"].tolist() == [0] * 10 + [1] * 10 + [2] * 10
    for name, images in (("x_train", TRAIN[0]), ("x_test", TEST[0])):
        assert sorted(map(bytes, added.arrays[name])) == sorted(map(bytes, images))
    assert "notes.txt is no picture: left out" in added.text
    assert "DS_Store" not in added.text


def test_pictures_are_resized(tmp_path: Path, add: Add) -> None:
    """With --size, pictures of different sizes and colours become images of one size, in colour unless all are grey."""
    for name, size in (("a", (40, 30)), ("b", (300, 200))):
        for number in range(5):
            (tmp_path / "p" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (250, 10, 10)).save(tmp_path / "p" / name / f"{number}.jpg", quality=100)
    Image.new("L", (50, 50), 128).save(tmp_path / "p" / "a" / "grey.png")
    added = add(tmp_path / "p", size=[16, 20])
    assert added.entry["shape"] == [16, 20, 3]
    assert added.arrays["x_train"][0, 8, 8].tolist() == pytest.approx([250, 10, 10], abs=3)
    assert add(tmp_path / "p", size=[16], grey=True).entry["shape"] == [16, 16]


def test_parquet(tmp_path: Path, add: Add) -> None:
    """Several Parquet files a part are read in their order, with the names of classes from the metadata."""
    (x, y), (x_test, y_test) = TRAIN, TEST
    write_parquet(tmp_path / "d" / "train-00000-of-00002.parquet", x[:17], y[:17].tolist(), NAMES)
    write_parquet(tmp_path / "d" / "train-00001-of-00002.parquet", x[17:], y[17:].tolist(), NAMES)
    write_parquet(tmp_path / "d" / "test-00000-of-00001.parquet", x_test, y_test.tolist(), NAMES)
    added = add(tmp_path / "d")
    check(added)
    assert added.entry["class_names"] == [*NAMES]


def test_svhn(tmp_path: Path, add: Add) -> None:
    """In the form of SVHN the images lie along the last axis, and 10 stands for 0."""
    train, test = (samples(count, 4, 10, (32, 32, 3)) for count in (40, 20))
    files = [write_svhn(tmp_path / f"{part}_32x32.mat", *data) for part, data in (("train", train), ("test", test))]
    added = add(*files)
    assert np.array_equal(added.arrays["x_train"], train[0])
    assert np.array_equal(added.arrays["y_test"], test[1])
    assert added.entry.get("class_names") is None
    assert "the label 10 stands for 0" in added.text


def test_emnist(tmp_path: Path, add: Add) -> None:
    """In the form of EMNIST, a struct of parts, flat images are read column by column."""
    train, test = (samples(count, 5, 3, (12, 12)) for count in (30, 12))
    parts = {
        part: {"images": data[0].swapaxes(1, 2).reshape(len(data[0]), -1), "labels": data[1][:, None]}
        for part, data in (("train", train), ("test", test))
    }
    scipy.io.savemat(tmp_path / "emnist.mat", {"dataset": parts | {"mapping": np.arange(6).reshape(3, 2)}})
    added = add(tmp_path / "emnist.mat")
    assert np.array_equal(added.arrays["x_train"], train[0])
    assert np.array_equal(added.arrays["y_test"], test[1])


def test_downloads(tmp_path: Path, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are downloaded from addresses, and removed after they were read; their names tell what they are."""
    monkeypatch.chdir(tmp_path)
    with Server().running() as server:
        server.respond_with(*(serve(idx_bytes(array)) for array in (*TRAIN, *TEST)))
        names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images", "t10k-labels?token=1")
        check(add(*(f"{server.url}/{name}" for name in names)))
        assert len(server.paths) == 4
    assert [*(tmp_path / ".inkflow" / "downloads").iterdir()] == []
