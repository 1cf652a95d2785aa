"""Images without MNIST's form are noted in prepared.json, so that pictures are not converted to it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.download.digits import load_digits
from stages.prepare import picture_scan
from stages.prepare.picture_scan import PictureScan
from stages.samples.pixels import Pixels
from tests.stages.prepare.conftest import RunPrepare, write_raw
from tests.support.own_letters import letters
from tests.support.tiny_data import tiny_arrays
from tests.support.watched import digits

DIGITS, LETTERS = digits(40), letters(40)[0]
OWN_LIGHT = {"conversion": "stretch", "background": "light"}
OWN_DARK = {"conversion": "stretch", "background": "dark"}
MIXED = {"conversion": "stretch", "background": "mixed"}


def form_of(images: NDArray[Any], chunk: int = 1000, pixels: Pixels | None = None) -> dict[str, str] | None:
    """Returns the form of `images`, which are added in chunks."""
    scan = PictureScan(len(images), pixels or Pixels())
    for start in range(0, len(images), chunk):
        scan.add(images[start : start + chunk])
    found = scan.form()
    return found.model_dump() if found else None


@pytest.mark.parametrize(
    ("images", "pixels", "expected"),
    [
        (DIGITS, Pixels(), None),
        (DIGITS[..., np.newaxis], Pixels(), None),
        (DIGITS / np.float32(255), Pixels(low=0, high=1), None),
        (255 - DIGITS, Pixels(), OWN_LIGHT),
        (LETTERS, Pixels(), OWN_LIGHT),
        (LETTERS.astype(np.uint16) * 16, Pixels(low=0, high=4095), OWN_LIGHT),
        (255 - LETTERS, Pixels(), OWN_DARK),
        (np.zeros((40, 28, 28), np.uint8), Pixels(), OWN_DARK),
        (np.concatenate([LETTERS[:38], 255 - LETTERS[38:]]), Pixels(), OWN_LIGHT),
        (np.concatenate([255 - LETTERS[:38], LETTERS[38:]]), Pixels(), OWN_DARK),
        (np.concatenate([LETTERS[:37], 255 - LETTERS[37:]]), Pixels(), MIXED),
        (np.repeat(LETTERS[..., np.newaxis], 3, axis=3), Pixels(), None),
    ],
)
def test_the_form_of_images(images: NDArray[Any], pixels: Pixels, expected: dict[str, str] | None) -> None:
    """Grey images of another form have an entry with their background; digits of MNIST's form and colours have none."""
    assert form_of(images, pixels=pixels) == expected


def test_the_embedded_digits_are_converted() -> None:
    """Of scikit-learn's digits about twice as many have MNIST's form as an entry is for, in small parts too."""
    images = load_digits().x_train
    share = np.mean([form_of(images[start : start + 1]) is None for start in range(len(images))])
    assert share > 1.9 * picture_scan.MIN_SHARE
    assert [form_of(images[start : start + 140]) for start in range(0, 1400, 140)] == [None] * 10


def test_a_quarter_with_the_form_is_enough() -> None:
    """The share decides, at any size of the chunks, and images are chosen evenly."""
    for chunk in (1, 7, 40):
        assert form_of(np.concatenate([DIGITS[:10], LETTERS[:30]]), chunk) is None
        assert form_of(np.concatenate([DIGITS[:9], LETTERS[:31]]), chunk) == MIXED


def test_images_are_chosen_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many images every n-th one is looked at, whatever the chunks are."""
    monkeypatch.setattr(picture_scan, "SAMPLES", 10)
    mixed = LETTERS.copy()
    mixed[::4] = DIGITS[::4]  # those that are looked at
    for chunk in (1, 3, 4, 9, 40):
        assert form_of(mixed, chunk) is None
        assert form_of(np.roll(mixed, 1, axis=0), chunk) == OWN_LIGHT


@pytest.mark.parametrize("crop", [None, {"top": 4, "bottom": 4, "left": 4, "right": 4}])
@pytest.mark.parametrize(("images", "expected"), [(DIGITS, None), (LETTERS, OWN_LIGHT)])
def test_prepared_json(
    run_prepare: RunPrepare, images: NDArray[np.uint8], expected: Any, crop: dict[str, int] | None
) -> None:
    """prepared.json has the form of the whole images, also where they are cropped; for MNIST's form it has no entry."""
    write_raw(tiny_arrays(shape=(28, 28)) | {"x_train": images})
    info = run_prepare(crop=crop, samples=[0, 40])["info"]
    assert info.get("picture_form") == expected
    assert ("picture_form" in info) == (expected is not None)
