"""Fixtures of the tests of trainings."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.learning import Folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared data of simple patterns."""
    from tests.support.learning import write_data  # late: loads Keras, which not all tests of the folder do

    return write_data(tmp_path_factory.mktemp("patterns"))


@pytest.fixture(autouse=True)
def own_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Keras draw seeds from numbers of its own: threads that earlier tests left draw from Python's too."""
    if "keras" in sys.modules:
        numbers = random.Random()
        for name, attribute in (("random.seed_generator", "python_random"), ("utils.rng_utils", "random")):
            monkeypatch.setattr(f"keras.src.{name}.{attribute}", numbers)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project in the current folder, whose folder `custom` may be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path
