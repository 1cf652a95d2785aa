"""How unlike the training images an image is, by the features that the last layer of a network reads.

The sum of two numbers, each in standard deviations of the training images above their mean:

- the relative Mahalanobis distance to the nearest class (Jie Ren and others: A Simple Fix to Mahalanobis Distance for
  Improving Near-OOD Detection, 2021): the squared distance to the class minus that to the whole training data;
- the energy (Weitang Liu and others: Energy-based Out-of-distribution Detection, 2020): minus the logarithm of the sum
  of the exponentials of the logits, which is high where no class has evidence.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

RIDGE = 0.01  # of the mean variance, added to each feature's: dead features have none
SLICE = 1000  # samples whose distances to all classes are in memory at once
MAX_FEATURES = 4096  # their covariance has the square of it as numbers

Floats = NDArray[np.float64]


class Unlikeness(NamedTuple):
    """What the measure needs beside the network.

    The classes' means differ in `k` directions alone (at most one less than there are classes). In all others, both
    distances have the same covariance and cancel out, so that the features (n, d) are projected to k numbers first.

    Attributes:
        centre: Mean of the features (d,).
        projection: (d, k) to numbers with the covariance 1 within the classes.
        means: Projected means of the classes (classes, k).
        shares: Share of the variance within the classes in each of the k numbers (k,).
        location: Means of the relative distance and the energy.
        spread: Standard deviations of both.
    """

    centre: Floats
    projection: Floats
    means: Floats
    shares: Floats
    location: Floats
    spread: Floats

    def measure(self, features: Any, logits: Any, ops: Any) -> Any:
        """Returns the unlikeness (n, 1) for `features` (n, d) and `logits` (n, c); `ops` is keras.ops or NumPy."""
        values = self.distance_and_energy(features, logits, ops)
        parts = zip(values, self.location.tolist(), self.spread.tolist(), strict=True)
        distance, energy = ((value - mean) * (1 / deviation) for value, mean, deviation in parts)
        return distance + energy

    def distance_and_energy(self, features: Any, logits: Any, ops: Any) -> tuple[Any, Any]:
        """Returns the relative distance and the energy (n, 1)."""
        dtype = "float64" if ops is np else "float32"
        centre, projection, means, shares = (np.asarray(array, dtype) for array in self[:4])
        projected = ops.matmul(features - centre, projection)
        to_classes = ops.sum(ops.square(ops.expand_dims(projected, 1) - means), axis=2)
        to_all = ops.sum(ops.square(projected) * shares, axis=1, keepdims=True)
        largest = ops.max(logits, axis=1, keepdims=True)
        energy = -largest - ops.log(ops.sum(ops.exp(logits - largest), axis=1, keepdims=True))
        return ops.min(to_classes, axis=1, keepdims=True) - to_all, energy

    def measure_all(self, features: Floats, logits: Floats) -> Floats:
        """Returns the unlikeness (n,) for many samples, slice by slice."""
        slices = (slice(start, start + SLICE) for start in range(0, len(features), SLICE))
        return np.concatenate([self.measure(features[rows], logits[rows], np)[:, 0] for rows in slices])

    def to_lists(self) -> dict[str, Any]:
        """Returns the arrays as lists, for JSON."""
        return {name: array.tolist() for name, array in self._asdict().items()}

    @classmethod
    def from_lists(cls, content: dict[str, Any]) -> "Unlikeness":
        """Returns what `to_lists` has written."""
        return cls(**{name: np.array(values, np.float64) for name, values in content.items()})


def fit_unlikeness(features: Floats, logits: Floats, labels: NDArray[np.int64]) -> Unlikeness | None:
    """Returns the measure for training images with `features` (n, d), `logits` (n, c) and `labels` (n,).

    Returns:
        The measure, or None where there is none: fewer than two classes, too many features, all features equal.
    """
    classes, members = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or features.shape[1] > MAX_FEATURES:
        return None
    centre = features.mean(axis=0)
    centred = features - centre
    counts = np.bincount(members)
    means = np.array([centred[members == number].mean(axis=0) for number in range(len(classes))])
    within = centred - means[members]
    covariance = within.T @ within / len(features)
    ridge = RIDGE * np.trace(covariance) / len(covariance)
    if not ridge > 0:
        return None
    covariance[np.diag_indices_from(covariance)] += ridge
    between = (means * counts[:, np.newaxis]).T @ means / len(features)
    kept = min(len(classes) - 1, len(covariance))
    first = len(covariance) - kept
    values, projection = linalg.eigh(between, covariance, subset_by_index=[first, len(covariance) - 1])
    signs = np.sign(projection[np.abs(projection).argmax(axis=0), np.arange(kept)])
    projection *= signs  # an eigenvector is known but for its sign
    shares = 1 / (1 + np.maximum(values, 0))
    unscaled = Unlikeness(centre, projection, means @ projection, shares, np.zeros(2), np.ones(2))
    slices = [slice(start, start + SLICE) for start in range(0, len(features), SLICE)]
    parts = [unscaled.distance_and_energy(features[rows], logits[rows], np) for rows in slices]
    distance_and_energy = [np.concatenate(part) for part in zip(*parts, strict=True)]
    deviations = np.array([value.std() for value in distance_and_energy])
    location = np.array([value.mean() for value in distance_and_energy])
    return unscaled._replace(location=location, spread=np.where(deviations > 0, deviations, 1.0))
