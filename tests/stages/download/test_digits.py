"""The digits of scikit-learn, and the selection of held-out samples."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.data.datasets import digest
from stages.download.digits import enlarge, load_digits
from stages.samples.sampling import held_out_mask

DIGITS = {
    "x_train": "7720816ae861b3b6b424895d8f2f7e0a13527fb18a2330a3a3c740531eb9c2eb",
    "y_train": "4f50482905442717ef7e03f3590c241040e51aad7aeda3996454adce11f05df3",
    "x_test": "031ef96f3126f73f99b3734b447d1a75066ed0ea70bccc1c0385cd3f091c8d62",
    "y_test": "f2119f39862c9329bf92b296c170cb67013c9b851459d57ab5d2efa84301fcbf",
}


def test_digits_are_the_same_everywhere() -> None:
    """The digits have the same bytes on every machine: 1,437 and 360 images in the form of MNIST."""
    digits = load_digits()
    assert {name: digest(array) for name, array in digits.by_name().items()} == DIGITS
    assert digits.x_train.shape == (1437, 28, 28)
    assert digits.x_test.shape == (360, 28, 28)
    assert digits.x_train.dtype == digits.y_train.dtype == np.uint8
    assert digits.x_train.max() == 255
    assert not digits.x_train[:, [0, 3, 24, 27]].any()


def test_enlargement_agrees_with_pillow() -> None:
    """The integer enlargement differs from Pillow's bilinear enlargement in floating point only by rounding."""
    small = np.random.default_rng(1).integers(0, 17, (8, 8))
    expected = Image.fromarray(small.astype(np.float32)).resize((20, 20), Image.Resampling.BILINEAR)
    result = enlarge(small[None])[0, 4:24, 4:24]
    assert np.abs(np.asarray(expected) * 255 / 16 - result).max() <= 0.501


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=80), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_held_out_samples_keep_the_shares(labels: list[int], share: float, seed: int) -> None:
    """Exactly `count` samples are held out, and each class keeps its share to within one sample."""
    array, count = np.array(labels), round(share * len(labels))
    mask = held_out_mask(array, count, seed)
    assert mask.sum() == count
    for label in set(labels):
        expected = count * labels.count(label) / len(labels)
        assert abs(mask[array == label].sum() - expected) <= 1


def test_held_out_samples_follow_the_seed() -> None:
    """The same seed selects the same samples; another seed selects others."""
    labels = np.arange(100) % 4
    assert np.array_equal(held_out_mask(labels, 20, 1), held_out_mask(labels, 20, 1))
    assert not np.array_equal(held_out_mask(labels, 20, 1), held_out_mask(labels, 20, 2))
