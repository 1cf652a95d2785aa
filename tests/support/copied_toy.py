"""A project that is made once in each test process, and of which each test gets a copy."""

from pathlib import Path

import pytest

from tests.conftest import Toy
from tests.support.prepared import Make, copy_prepared


def copied_toy(make: Make, folder: Path, patch: pytest.MonkeyPatch, place: str = "") -> Toy:
    """Returns a copy of a project, which is also the current folder.

    Args:
        make: makes the project.
        folder: where the copy is made.
        patch: undoes all of it after the test, but for the copy.
        place: where in the folder the project is.
    """
    toy = Toy.__new__(Toy)
    toy.folder = copy_prepared(make, folder) / place
    patch.chdir(toy.folder)
    patch.setenv("INKFLOW_PROJECT", str(toy.folder))  # not that of another test in this process
    return toy
