"""A bound of memory for the files that a process reads."""

import resource
import threading

import numpy as np
import pytest

from stages.base.errors import DataError
from stages.data.memory import BASE, limited_memory


def test_more_than_the_bound_is_an_error_of_the_data() -> None:
    """An allocation beyond the bound becomes one sentence, and the process goes on without the bound."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    message = "the images need more than 4,000,001,000 bytes of memory; use fewer"
    with pytest.raises(DataError, match=message), limited_memory(1_000, "the images"):
        np.ones(BASE + 10_000_000, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_bounds_of_several_threads() -> None:
    """While one of several blocks runs, its bound holds; after the last one the old limit is there again."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    is_in, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with limited_memory(0, "a"):
            is_in.set()
            is_over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_in.wait(60)
    with limited_memory(10**9, "b"):
        low = resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == low != before[0]
    is_over.set()
    thread.join()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
