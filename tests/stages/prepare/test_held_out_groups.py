"""Whole groups are held out: no group is in two parts, classes keep their shares, and the seed selects."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.base.errors import InvalidInput
from stages.data.groups import GROUPS_FILE, Groups, write_groups
from stages.prepare.held_out_groups import MAX_FOLDS, count_groups, held_out_groups, numbers_of_folds
from tests.stages.prepare.conftest import FAILED, RAW, RunFailing, RunPrepare, write_raw

GROUPS = Groups(np.arange(40, dtype="<i4") // 4, np.arange(12, dtype="<i4") // 3 + 100)


def test_no_group_is_in_two_parts(run_prepare: RunPrepare) -> None:
    """The samples of one group are all in the same part, and prepared.json counts the groups."""
    raw = write_raw()
    write_groups(RAW / GROUPS_FILE, GROUPS)
    result = run_prepare(held_out="groups", validation=0.2)
    positions = {image.tobytes(): index for index, image in enumerate(raw["x_train"])}
    held_out = np.rint(result["x_validation"][..., 0] * 255).astype(np.uint8)
    validation = {int(GROUPS.train[positions[image.tobytes()]]) for image in held_out}
    assert (len(validation), len(held_out)) == (2, 8)
    assert result["info"]["groups"] == {"train": 8, "validation": 2, "test": 4, "shared": 0}


def test_a_test_group_in_the_training_part_is_counted() -> None:
    """`shared` counts groups of any two parts."""
    groups = Groups(np.array([0, 0, 1, 2], "<i4"), np.array([2, 3], "<i4"))
    assert count_groups(groups, np.array([0, 0, 1, 0], bool)) == {"train": 2, "validation": 1, "test": 2, "shared": 1}
    assert count_groups(groups, np.array([1, 0], bool), start=2) == {
        "train": 1,
        "validation": 1,
        "test": 2,
        "shared": 1,
    }


def test_groups_of_the_training_part_alone(run_prepare: RunPrepare) -> None:
    """Without groups of the test samples whole groups are held out all the same; the test part has no count."""
    write_raw()
    write_groups(RAW / GROUPS_FILE, Groups(GROUPS.train))
    counts = {"train": 8, "validation": 2, "test": None, "shared": 0}
    assert run_prepare(held_out="groups", validation=0.2)["info"]["groups"] == counts


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=80), st.floats(0.01, 0.99))
def test_any_labels_and_groups(samples: list[tuple[int, int]], share: float) -> None:
    """Each group is held out whole or not at all, both parts have samples, and the same seed selects the same."""
    labels, groups = (np.array(column) for column in zip(*samples, strict=True))
    try:
        mask = held_out_groups(labels, groups, share, 7)
    except InvalidInput:
        assert len(set(groups)) == 1 or len(set(labels)) == len(labels)
        return
    assert not set(groups[mask]) & set(groups[~mask])
    assert 0 < mask.sum() < len(mask)
    assert np.array_equal(mask, held_out_groups(labels, groups, share, 7))


@settings(max_examples=25)
@given(st.integers(2, 25), st.floats(0.001, 0.999))
@example(23, 0.94921875)  # folds of one and of two groups: the larger ones may be any
def test_share_of_equal_groups(count: int, share: float) -> None:
    """Of equal groups about the nearest possible number is held out, whatever the share and the number of groups."""
    groups = np.repeat(np.arange(count), 2)
    mask = held_out_groups(np.zeros_like(groups), groups, share, 5)
    nearest = min(abs(number / count - share) for number in range(1, count))
    assert abs(mask.mean() - share) <= nearest + 1 / MAX_FOLDS


@pytest.mark.parametrize(
    ("share", "count", "held_out"),
    [(0.1, 3, 1), (0.1, 4, 1), (0.05, 9, 1), (0.02, 20, 1), (0.2, 2, 1), (0.3, 4, 1), (0.99, 3, 2)],
)
def test_number_of_groups_for_a_share(share: float, count: int, held_out: int) -> None:
    """Small and large shares, and few groups, never hold out half of the samples in their place."""
    groups = np.repeat(np.arange(count), 2)
    mask = held_out_groups(np.zeros_like(groups), groups, share, 0)
    assert len(set(groups[mask])) == held_out


@pytest.mark.parametrize(
    ("share", "expected"), [(0.009, (50, 1)), (0.995, (50, 49)), (0.1, (10, 1)), (1 / 6, (6, 1)), (0.3, (10, 3))]
)
def test_folds_of_many_groups(share: float, expected: tuple[int, int]) -> None:
    """MNIST's 539 writers are divided as the share says: 0.1 and 1 / 6 are those of recorded results."""
    assert numbers_of_folds(share, 539, MAX_FOLDS) == expected


def test_share_and_classes() -> None:
    """With many groups, the share of samples and of each class is near the wanted one, and seeds differ."""
    random = np.random.default_rng(3)
    groups = np.repeat(np.arange(100), 50)
    labels = random.integers(0, 5, len(groups))
    first, second = (held_out_groups(labels, groups, 0.3, seed) for seed in range(2))
    assert not np.array_equal(first, second)
    for mask in (first, second):
        assert mask.mean() == pytest.approx(0.3, abs=0.03)
        assert np.bincount(labels[mask]) / np.bincount(labels) == pytest.approx([0.3] * 5, abs=0.05)


@pytest.mark.parametrize(
    ("groups", "params", "message", "code"),
    [
        (None, {}, "it has no groups, expected one for each sample", 2),
        (Groups(GROUPS.train[:39], GROUPS.test), {}, "g_train has shape (39,)", 2),
        (Groups(GROUPS.train * 0, GROUPS.test), {}, "all samples are of one group", 2),
        (GROUPS, {"samples": [0, 4], "validation": 0.5}, "all samples are of one group", 2),
    ],
)
def test_unfit_groups(
    run_failing: RunFailing, groups: Groups | None, params: dict[str, Any], message: str, code: int
) -> None:
    """Groups that are missing, too few or of one kind are rejected in one sentence."""
    write_groups(RAW / GROUPS_FILE, groups)
    assert message in run_failing(code, held_out="groups", **params)


def test_class_of_one_group_must_be_learnable(run_failing: RunFailing) -> None:
    """If the held-out groups hold all samples of a class, the message names the class and what to do."""
    labels = np.repeat(np.array([0, 1], np.uint8), 20)
    write_raw({"y_train": labels})
    write_groups(RAW / GROUPS_FILE, Groups(labels.astype("<i4"), GROUPS.test))
    assert "hold all samples of label" in run_failing(held_out="groups", validation=0.5)


def test_missing_file(run_failing: RunFailing) -> None:
    """Without groups.npz the message says how to make it."""
    assert "inkflow run --force" in run_failing(FAILED + 1, held_out="groups")
