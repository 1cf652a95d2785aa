"""Weights and groups of the samples, arrays that are not used, and arrays that the options name."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from stages.data.config import Dataset
from stages.data.datasets import digest
from stages.download import download, source_digests
from stages.own_data.program import main
from tests.stages.own_data.conftest import Add, Refuse
from tests.support.own_forms import samples, write_csv

(X, Y), (X_TEST, Y_TEST) = samples(30, 1), samples(12, 2)
FOUR = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}
WEIGHTS = np.linspace(0, 2, 30)
WRITERS = np.array([f"writer {number // 3}" for number in range(30)])
EXTRAS = {"w_train": WEIGHTS, "g_train": np.arange(30) // 3, "g_test": 99 - np.arange(12)}


def npz(folder: Path, **arrays: Any) -> Path:
    """Writes an npz file."""
    np.savez(folder / "a.npz", allow_pickle=False, **arrays)
    return folder / "a.npz"


def test_weights_and_groups_are_copied(tmp_path: Path, add: Add) -> None:
    """A copy has the weights, with their digest, and the groups; other arrays are named as not used."""
    added = add(npz(tmp_path, **FOUR, **EXTRAS, w_test=np.ones(12), authors=np.zeros(3)))
    assert sorted(added.arrays) == ["g_test", "g_train", "w_train", "x_test", "x_train", "y_test", "y_train"]
    assert np.array_equal(added.arrays["w_train"], WEIGHTS.astype(np.float32))
    for name in ("w_train", "g_train", "g_test"):
        assert added.entry["sha256"][name] == digest(added.arrays[name])
    for name in ("g_train", "g_test"):
        assert added.arrays[name].dtype == np.int32 and np.array_equal(added.arrays[name], EXTRAS[name])
    Dataset.model_validate({"title": "x", "path": "x.npz", **added.entry})
    assert "kept beside images and labels: w_train, g_train, g_test" in added.text
    assert "a.npz: not used: authors, w_test" in added.text


def test_a_split_divides_weights_and_groups(tmp_path: Path, add: Add) -> None:
    """If a test part is chosen, each sample keeps its weight and its group; a MATLAB file can have them too."""
    numbers = np.arange(30, dtype=np.int32)
    arrays = {"images": X, "labels": Y, "w_train": numbers + 1.0, "g_train": numbers}
    scipy.io.savemat(tmp_path / "a.mat", arrays | {"ids": numbers})
    for path in (npz(tmp_path, **arrays), tmp_path / "a.mat"):
        added = add(path)
        groups = added.arrays["g_train"], added.arrays["g_test"]
        assert sum(map(len, groups)) == 30 and 4 <= len(groups[1]) <= 8
        assert np.array_equal(X[groups[0]], added.arrays["x_train"])
        assert np.array_equal(X[groups[1]], added.arrays["x_test"])
        assert np.array_equal(added.arrays["w_train"], groups[0] + 1)
    assert "a.mat: not used: ids" in added.text


@pytest.mark.parametrize("groups", [np.arange(60) // 6, np.array([f"writer {n // 6}" for n in range(60)])])
def test_a_split_keeps_groups_whole(tmp_path: Path, add: Add, groups: Any) -> None:
    """A test part that is chosen has all images of some groups and none of the others; one line counts them."""
    images, labels = samples(60, 3)
    added = add(npz(tmp_path, images=images, labels=labels, g_train=groups))
    train, test = set(added.arrays["g_train"].tolist()), set(added.arrays["g_test"].tolist())
    assert (len(train), len(test)) == (8, 2) and not train & test
    said = "12 of 60 images are chosen for it, all those of whole groups: 8 for training, 2 for the test, no group in"
    assert said in added.text
    again = add(tmp_path / "a.npz")
    other = [add(tmp_path / "a.npz", seed=seed).arrays["g_test"] for seed in (1, 2, 3)]
    assert np.array_equal(again.arrays["g_test"], added.arrays["g_test"])
    assert not all(np.array_equal(each, added.arrays["g_test"]) for each in other)


def test_groups_that_cannot_be_divided(tmp_path: Path, refuse: Refuse) -> None:
    """One group, or groups that leave a class without training images, is refused in one sentence with the remedy."""
    error = refuse(npz(tmp_path, images=X, labels=Y, g_train=np.full(30, 7)))
    assert "all images are of one group (g_train)" in error and "--test" in error
    error = refuse(npz(tmp_path, images=X, labels=Y % 2, g_train=Y % 2))
    assert re.search("for the test part have all images of the class [01]; choose another share or seed", error)


def test_the_only_image_of_a_class_stays_for_training(tmp_path: Path, refuse: Refuse) -> None:
    """A class whose only image would be in the test part is refused, whether classes have names or numbers."""
    labels = np.where(np.arange(30) == 7, 1, 0)
    for values, name in ((labels, "1"), (np.array(["cat", "dog"])[labels], "dog")):
        path = npz(tmp_path, images=X, labels=values)
        assert f"the class {name} has too few images to be in both parts" in refuse(path, test_share=0.5)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"g_train": np.arange(29)}, "groups are not used: they have the shape (29,)"),
        ({"g_train": WEIGHTS}, "expected an integer of 32 bits or a text for each of the 30 images"),
        ({"g_train": np.arange(30) << 33}, "expected an integer of 32 bits or a text for each of the 30 images"),
        (
            {"g_train": WRITERS, "g_test": np.arange(12)},
            "g_train and g_test: not used, since some of its groups",
        ),
        ({"g_train": WRITERS, "g_test": WRITERS[:12].astype("S")}, "not used, since some of its groups are integers"),
        ({"w_train": WEIGHTS, "x_val": X, "y_val": Y}, "w_train: not used, since only some of the files or arrays"),
    ],
)
def test_what_does_not_fit_is_not_used(tmp_path: Path, add: Add, arrays: dict[str, Any], said: str) -> None:
    """Groups that are no integer or text a sample, and weights of a part of the training images, are left out."""
    added = add(npz(tmp_path, **FOUR, **arrays), in_place="w_train" not in arrays)
    assert sorted(added.arrays) == sorted(added.entry["sha256"]) == sorted(FOUR)
    assert said in added.text


def test_groups_of_objects_are_not_used(tmp_path: Path, add: Add) -> None:
    """Groups of Python objects, as NumPy saves a list of a table, are named with what to do; the images are added."""
    np.savez(tmp_path / "a.npz", allow_pickle=True, **FOUR, g_train=WRITERS.astype(object))
    for in_place in (False, True):
        added = add(tmp_path / "a.npz", in_place=in_place)
        assert sorted(added.arrays) == sorted(added.entry["sha256"]) == sorted(FOUR)
        said = "a.npz: g_train is not used (g_train holds pickled Python objects, which are never loaded); save it"
        assert said in added.text and "np.array(..., dtype=str)" in added.text
        assert "not used: g_train" not in added.text


@pytest.mark.parametrize("texts", [WRITERS, WRITERS.astype("S"), WRITERS.astype(">U9")])
def test_groups_may_be_texts(tmp_path: Path, add: Add, texts: Any) -> None:
    """Texts stay as they are, in two parts, in a part that is split off, and in the parts of a validation part."""
    added = add(npz(tmp_path, **FOUR, g_train=texts, g_test=texts[:12]))
    assert np.array_equal(added.arrays["g_train"], texts) and np.array_equal(added.arrays["g_test"], texts[:12])
    added = add(npz(tmp_path, images=X, labels=Y, g_train=texts))
    assert sorted([*added.arrays["g_train"], *added.arrays["g_test"]]) == sorted(texts)
    assert added.entry["sha256"]["g_test"] == digest(added.arrays["g_test"])
    np.savez(tmp_path / "b.npz", x_train=X, y_train=Y, g_train=np.arange(30))
    test = str(npz(tmp_path, x_test=X_TEST, y_test=Y_TEST))
    np.savez(tmp_path / "c.npz", x_train=X, y_train=Y, g_train=texts)
    added = add(tmp_path / "b.npz", tmp_path / "c.npz", test=[test])
    assert "g_train: not used, since some of its groups are integers and others texts" in added.text


@pytest.mark.parametrize("groups", [np.arange(30), np.arange(30, dtype=">i2"), WRITERS, WRITERS.astype(">U9")])
def test_groups_of_a_file_in_place(
    tmp_path: Path, groups: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digests of groups are those that `download` compares, of a file in place and of a copy of another shape."""
    monkeypatch.chdir(tmp_path)
    for array, in_place in ((groups, True), (groups[:, None], False)):
        path = npz(tmp_path, **FOUR, g_train=array)
        options = {"name": "own", "paths": [str(path)], "in_place": True, "out": "out.npz", "result": "result.json"}
        assert main([json.dumps(options)]) == 0
        result = json.loads(Path("result.json").read_text())
        assert result["unchanged"] is in_place
        entry = result["entry"] | {"title": "x", "path": "a.npz" if in_place else "out.npz"}
        params = {"dataset": "own", "datasets": {"own": entry}, "prepare": {"held_out": "groups"}}
        Path("params.yaml").write_text(json.dumps(params))
        assert download.main(["--out", "raw"]) == 0
        assert source_digests.main([]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["present"] == found["recorded"] and "g_train" in found["recorded"]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (WEIGHTS[1:], "w_train has the shape (29,) and the type float64, expected one number for each of the 30"),
        (WEIGHTS - 1, "a.npz: w_train has weights that are negative, not finite, or all 0"),
    ],
)
def test_wrong_weights(tmp_path: Path, refuse: Refuse, weights: Any, said: str) -> None:
    """Weights that are not one number from 0 on for each training image are refused."""
    assert said in refuse(npz(tmp_path, **FOUR, w_train=weights), in_place=True)


def test_other_arrays_than_the_standard_ones_make_a_copy(tmp_path: Path, add: Add) -> None:
    """A file with the four standard arrays is not used in place if the options name others: labels, or other parts."""
    fine = {"y_train_fine": (Y + 1) % 3, "y_test_fine": (Y_TEST + 1) % 3}
    path = npz(tmp_path, **FOUR, **fine, **EXTRAS)
    names = {"x_train": "x_train", "y_train": "y_train_fine", "x_test": "x_test", "y_test": "y_test_fine"}
    added = add(path, in_place=True, **names)
    assert np.array_equal(added.arrays["y_train"], fine["y_train_fine"])
    assert np.array_equal(added.arrays["g_test"], EXTRAS["g_test"])
    assert "a.npz: not used: y_test, y_train" in added.text
    swapped = {"x_train": "x_test", "y_train": "y_test", "x_test": "x_train", "y_test": "y_train"}
    added = add(path, in_place=True, **swapped)
    assert np.array_equal(added.arrays["x_train"], X_TEST) and np.array_equal(added.arrays["y_test"], Y)
    assert np.array_equal(added.arrays["g_train"], EXTRAS["g_test"]) and "w_train" not in added.arrays
    assert "a.npz: not used: w_train, y_test_fine, y_train_fine" in added.text


def test_named_arrays_of_two_files(tmp_path: Path, add: Add) -> None:
    """Where each part has a file with the same names of arrays, the files tell the parts."""
    np.savez(tmp_path / "a.npz", allow_pickle=False, imgs=X, kinds=Y)
    np.savez(tmp_path / "b.npz", allow_pickle=False, imgs=X_TEST, kinds=Y_TEST)
    added = add(tmp_path / "a.npz", test=[str(tmp_path / "b.npz")], x_train="imgs", y_train="kinds")
    assert np.array_equal(added.arrays["x_train"], X) and np.array_equal(added.arrays["y_test"], Y_TEST)


@pytest.mark.parametrize(
    ("train", "test", "pixels"),
    [
        (X, X_TEST / 255, "--pixels 0 255"),
        (X / 255, X_TEST.astype(np.float64), "--pixels 0 255"),
        (X.astype(np.uint16) * 16, X_TEST, "--pixels 0 4080"),
        (X / 255, X_TEST / 127.5 - 1, "--pixels -1 1"),
    ],
)
def test_ranges_of_different_kinds(
    tmp_path: Path, add: Add, refuse: Refuse, train: Any, test: Any, pixels: str
) -> None:
    """Bytes beside pixels from 0 to 1, for example, are refused, unless the range is given; in several files too."""
    error = refuse(npz(tmp_path, x_train=train, y_train=Y, x_test=test, y_test=Y_TEST), in_place=True)
    assert "expected one range in all; convert one of them, or, if they have the same range, give it" in error
    assert f"a.npz (test) {test.dtype}" in error and pixels in error
    low, high = map(float, pixels.split()[1:])
    assert add(tmp_path / "a.npz", pixels=[low, high]).entry.get("pixels", {}).get("high", 255) == high
    for name, images, labels in (("b", train, Y), ("c", test, Y_TEST)):
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, x=images, y=labels)
    assert "expected one range in all" in refuse(tmp_path / "b.npz", tmp_path / "c.npz")


def test_one_range_in_other_types(tmp_path: Path, add: Add) -> None:
    """Bytes beside the same numbers of another type are one range, and so are 0 and 1 of all types."""
    added = add(npz(tmp_path, **FOUR | {"x_test": X_TEST.astype(np.int64)}))
    assert added.arrays["x_test"].dtype == np.uint8 and np.array_equal(added.arrays["x_test"], X_TEST)
    added = add(npz(tmp_path, **FOUR | {"x_train": X > 99, "x_test": X_TEST / 255}))
    assert added.entry["pixels"] == {"low": 0, "high": 1}
    write_csv(tmp_path / "train.csv", X, Y)
    assert add(tmp_path / "train.csv", test=[str(npz(tmp_path, x=X_TEST * 1.0, y=Y_TEST))], shape=[9, 12]).arrays


def test_groups_of_no_text(tmp_path: Path, add: Add) -> None:
    """Groups whose characters are none are not used, and a sentence says so."""
    added = add(npz(tmp_path, x_train=X, y_train=Y, g_train=np.frombuffer(b"\xff" * 120, "<U1")))
    assert "its groups are not used" in added.text and "g_train" not in added.arrays
