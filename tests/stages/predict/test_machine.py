"""A fault of the machine while images are read is said as such: the file is sound."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from stages.data.npz import open_npy
from stages.predict import image_files
from stages.predict.image_arrays import RejectedInput
from tests.support.pictures import draw, encoded


@pytest.mark.parametrize("opener", [Path, Image])
def test_a_fault_of_the_machine_is_none_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: object
) -> None:
    """If no file can be opened any more, a sound one is not rejected; one that cannot be read itself is."""
    path = tmp_path / "file"
    path.write_bytes(encoded(draw(3), "PNG"))

    def fail_with(number: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(opener, "open", fail)

    fail_with(errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        list(image_files.read_images(str(path)))
    if opener is Path:
        with pytest.raises(OSError, match="Too many open files"):
            open_npy(path, "its array", 1_000)
    fail_with(errno.EIO)
    (rejected,) = image_files.read_images(str(path))
    assert isinstance(rejected, RejectedInput) and "Input/output error" in rejected.reason
