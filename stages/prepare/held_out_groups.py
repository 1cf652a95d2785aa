"""Selects whole groups of samples for validation, such as all samples of a writer."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InvalidInput
from stages.data.groups import Groups

MAX_FOLDS = 50  # the time grows with folds times groups


def held_out_groups(labels: NDArray[Any], groups: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Selects whole groups at random, with about `share` of the samples and about the same share of each class.

    scikit-learn's `StratifiedGroupKFold` divides the groups into folds, and the first folds are selected.

    Args:
        labels: integers (n,).
        groups: the group of each sample, integers (n,).
        share: share of held-out samples, above 0 and below 1.
        seed: seed of the selection.

    Returns:
        bool (n,), True for each held-out sample.

    Raises:
        InvalidInput: all samples are of one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow, and needed only for groups

    count = len(np.unique(groups))
    largest_class = int(np.unique(labels, return_counts=True)[1].max())
    if min(count, largest_class) < 2:
        raise InvalidInput(
            "prepare.held_out is groups, but all samples are of one group, or each class has one sample; choose random "
            "or last"
        )
    folds, selected = numbers_of_folds(share, count, min(count, largest_class, MAX_FOLDS))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    mask = np.zeros(len(labels), np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer samples than folds
        for number, (_, fold) in enumerate(splitter.split(labels, labels, groups)):
            if number < selected:
                mask[fold] = True
    return mask


def numbers_of_folds(share: float, groups: int, most: int) -> tuple[int, int]:
    """Returns the number of folds, 2 to `most`, and how many of them have about `share` of the samples together.

    Folds of equal groups differ by one group at most, and the larger ones may be any, so the worst case counts. So few
    groups may come nearer to the share in a number of folds that does not express it best; 1 / MAX_FOLDS of the samples
    makes no difference.
    """

    def distance(numbers: tuple[int, int]) -> tuple[int, float, int]:
        folds, selected = numbers
        size, larger = divmod(groups, folds)
        fewest, most_groups = max(0, selected - (folds - larger)), min(larger, selected)
        worst = max(abs((size * selected + more) / groups - share) for more in (fewest, most_groups))
        return round(MAX_FOLDS * worst), abs(selected / folds - share), folds

    return min(((folds, selected) for folds in range(2, most + 1) for selected in range(1, folds)), key=distance)


def count_groups(groups: Groups, validation: NDArray[np.bool_], start: int = 0) -> dict[str, int | None]:
    """Counts the groups of each part, and those that are in more than one part; None for a test part without groups.

    Args:
        groups: the groups of all samples.
        validation: the held-out samples, bool (n,), among the n training samples from `start` on.
        start: index of the first selected training sample.
    """
    selected = groups.train[start : start + len(validation)]
    parts = {"train": selected[~validation], "validation": selected[validation], "test": groups.test}
    distinct = {name: np.unique(numbers) for name, numbers in parts.items() if numbers is not None}
    together = np.concatenate(list(distinct.values()))
    counts = {name: len(distinct[name]) if name in distinct else None for name in parts}
    return counts | {"shared": len(together) - len(np.unique(together))}
