"""Groups in a data set's own file: the arrays `g_train` and, where they are known, `g_test`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.base.errors import InvalidInput
from stages.data.datasets import digest
from stages.data.groups import GROUPS_FILE, read_groups
from stages.download import source_digests
from tests.support.download_project import INVALID, RAW, RunFailing, run_download, set_mirror
from tests.support.tiny_data import Changes, save, tiny_arrays, write_params

TRAIN, TEST = np.arange(40) // 5, np.arange(12) // 4 + 6  # two groups of the test part are in the training part too
NAMES = np.array([f"writer {letter}" for letter in "abcdefghi"])
TEXTS = {"g_train": NAMES[TRAIN], "g_test": NAMES[TEST]}


@pytest.fixture
def own(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's file in a mirror, without groups; whole groups are held out."""
    write_params(project, held_out="groups")
    return save(set_mirror(project / "mirror", monkeypatch))


def write_digests(arrays: Changes, **changes: str) -> None:
    """Writes a params.yaml with the digests of the data set and of these arrays."""
    every = {name: array for name, array in (tiny_arrays() | dict(arrays)).items() if array is not None}
    known = {name: digest(array.astype(array.dtype.newbyteorder("<"))) for name, array in every.items()}
    write_params(Path(), tiny={"sha256": known | changes}, held_out="groups")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"g_train": TRAIN, "g_test": TEST}, (TRAIN, TEST)),
        ({"g_train": (TRAIN - 3).astype(">i2"), "g_test": TEST.astype(np.uint64)}, (TRAIN - 3, TEST)),
        (TEXTS, (TRAIN, TEST)),
        ({name: array.astype("S") for name, array in TEXTS.items()}, (TRAIN, TEST)),
        ({"g_train": TRAIN}, (TRAIN, None)),
        ({"g_train": NAMES[TRAIN]}, (TRAIN, None)),
    ],
    ids=["integers", "types", "texts", "bytes", "training part", "texts of the training part"],
)
def test_groups_are_read_from_the_file(
    own: Path, arrays: Changes, expected: tuple[NDArray[Any], NDArray[Any] | None]
) -> None:
    """Integers stay, and equal texts get equal numbers in both parts; the data set's own arrays stay as they are."""
    save(own, arrays)
    files = run_download()
    for numbers, wanted in zip(read_groups(RAW / GROUPS_FILE, 40), expected, strict=True):
        assert (numbers is None) == (wanted is None)
        assert numbers is None or np.array_equal(numbers, np.asarray(wanted))
    assert sorted(np.load(RAW / "dataset.npz").files) == ["x_test", "x_train", "y_test", "y_train"]
    write_digests(arrays)
    assert run_download() == files


def test_groups_that_are_not_held_out_are_not_read(own: Path) -> None:
    """Without `held_out: groups`, groups.npz has no arrays, even if those of the file are invalid."""
    save(own, {"g_train": TRAIN[:3]})
    write_params(Path())
    run_download()
    assert np.load(RAW / GROUPS_FILE).files == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "datasets.tiny has no `groups`, and its file no array g_train"),
        ({"g_test": TEST}, "and its file no array g_train"),
        ({"g_train": TRAIN[:39]}, "g_train has shape (39,) and type int64, expected integers or texts of shape (40,)"),
        ({"g_train": TRAIN, "g_test": TEST[:1]}, "g_test has shape (1,)"),
        ({"g_train": TRAIN[:, None]}, "g_train has shape (40, 1)"),
        ({"g_train": TRAIN / 2}, "type float64, expected integers or texts"),
        ({"g_train": TRAIN.astype(object)}, "pickled Python objects"),
        ({"g_train": TRAIN, "g_test": NAMES[TEST]}, "expected integers in both or texts in both"),
        ({"g_train": NAMES[TRAIN], "g_test": NAMES[TEST].astype("S")}, "expected integers in both or texts in both"),
        ({"g_train": TRAIN + 2**40}, "expected numbers of 32 bits"),
    ],
)
def test_invalid_groups(own: Path, run_failing: RunFailing, arrays: Changes, message: str) -> None:
    """Groups that are missing, of another length or of another type are one sentence; earlier outputs stay."""
    save(own, arrays)
    code, error = run_failing()
    assert (code, message in error) == (INVALID, True), error


def test_a_trial_of_changed_data_needs_the_groups(own: Path) -> None:
    """The program that looks for changed data refuses a file without groups as the stage does; it writes nothing."""
    save(own, {"x_train": tiny_arrays()["x_train"][::-1]})
    with pytest.raises(InvalidInput, match=r"datasets\.tiny has no `groups`, and its file no array g_train; add one"):
        source_digests.main(["--out", "trial"])
    assert not Path("trial").exists()


@pytest.mark.parametrize("name", ["g_train", "g_test"])
def test_digests_in_params(own: Path, run_failing: RunFailing, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """If params.yaml has the digest of an array, another content and a missing array are found, as for images."""
    save(own, TEXTS)
    write_digests(TEXTS, **{name: "0" * 64})
    assert f"{name} has sha256 {digest(TEXTS[name])}, expected 000" in run_failing()[1]
    assert source_digests.main([]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["present"] == found["recorded"] | {name: digest(TEXTS[name])}
    save(own, {key: array for key, array in TEXTS.items() if key != name})
    assert f"the array {name} is missing" in run_failing()[1]


def test_a_trial_of_changed_data_has_the_groups(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program that looks for changed data writes the groups as the stage does, also if only a group changed."""
    changed = TEXTS | {"g_test": NAMES[TEST - 1]}
    write_digests(TEXTS)
    save(own, changed)
    assert source_digests.main(["--out", "trial"]) == 0
    write_digests(changed)
    run_download()
    for file in ("dataset.npz", "dataset.json", GROUPS_FILE):
        assert (Path("trial") / file).read_bytes() == (RAW / file).read_bytes()
