"""Many classes: the worst of them by recall, and an order in which confused classes are neighbours."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from stages.report.statistics.intervals import Counts, Interval, wilson_interval


class Recall(NamedTuple):
    """Recall of a class with its 95% interval (Wilson)."""

    number: int
    correct: int
    samples: int
    interval: Interval

    @property
    def share(self) -> float:
        """The recall."""
        return self.correct / self.samples


def worst_recalls(matrix: Counts, limit: int) -> list[Recall]:
    """Returns the classes with the lowest recall, the lowest first; classes without test samples are left out."""
    recalls = [
        Recall(number, int(row[number]), int(row.sum()), wilson_interval(int(row[number]), int(row.sum())))
        for number, row in enumerate(matrix)
        if row.sum()
    ]
    return sorted(recalls, key=lambda recall: (recall.share, recall.number))[:limit]


def clustered_order(matrix: Counts) -> Sequence[int]:
    """Returns the numbers of all classes, those that are often confused side by side (average linkage)."""
    confused = (matrix + matrix.T).astype(np.float64)
    np.fill_diagonal(confused, 0)
    if not confused.any() or len(confused) < 3:
        return list(range(len(confused)))
    distance = 1 / (1 + confused)
    np.fill_diagonal(distance, 0)
    return [int(leaf) for leaf in leaves_list(linkage(squareform(distance), "average"))]


def arranged(matrix: npt.NDArray[Any], order: Sequence[int]) -> npt.NDArray[Any]:
    """Returns rows and columns of `matrix` (classes, classes) in another order."""
    return matrix[np.ix_(order, order)]
