"""Prefect's variables, in which flows remember what they have sent."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from flows.tasks.variables import remember

WRITERS, ROUNDS = 6, 4


@pytest.mark.server
@pytest.mark.farm
def test_two_runs_remember_at_the_same_time(prefect_url: str) -> None:
    """Runs that make the same variable at once all succeed, and one of their values is kept."""
    barrier = Barrier(WRITERS)

    def write(number: int, name: str) -> None:
        with temporary_settings({PREFECT_API_URL: prefect_url}):
            barrier.wait(timeout=240)
            remember(name, {"x_train": str(number)})

    names = [f"inkflow_test_{number}" for number in range(ROUNDS)]
    with ThreadPoolExecutor(WRITERS) as writers:
        for name in names:
            list(writers.map(write, range(WRITERS), [name] * WRITERS))
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        kept = [Variable.get(name) for name in names]
    assert all(value in [{"x_train": str(number)} for number in range(WRITERS)] for value in kept)
