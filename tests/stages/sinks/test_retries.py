"""A sink that failed is tried again, with all epochs so far."""

import sys
import time
from types import SimpleNamespace

import pytest

from stages.sinks import follow
from stages.sinks.follow import RETRY_S, Followed, Follower
from stages.sinks.state import State
from tests.conftest import wait_until

NAME = "failing"


class Failing:
    """A sink that fails twice."""

    def __init__(self) -> None:
        self.epochs = list[int]()  # shown at each attempt

    def connect(self) -> "Failing":
        """Returns the sink, as a module of sinks does."""
        return self

    def update(self, state: State) -> None:
        """Notes the number of epochs; raises in the first two attempts."""
        self.epochs.append(len(state.rows))
        if len(self.epochs) <= 2:
            raise ConnectionError(f"refused {len(self.epochs)}")


class Waits(Followed):
    """The state of a stage that counts how often the sink has waited for it."""

    count = 0

    def wait(self, seen: int, timeout_s: float | None = None) -> tuple[State, int]:
        """Counts a wait."""
        self.count += 1
        return super().wait(seen, timeout_s)


class Clock:
    """The clock of the followers, which only a test advances."""

    now = 1000.0

    def monotonic(self) -> float:
        """Returns the time in seconds."""
        return self.now

    def time(self) -> float:
        """Returns the real time."""
        return time.time()


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """A sink that fails twice, under its name."""
    sink = Failing()
    monkeypatch.setitem(sys.modules, "failing_sink", SimpleNamespace(connect=sink.connect))
    monkeypatch.setitem(follow.MODULES, NAME, "failing_sink")
    return sink


def epoch(followed: Followed) -> None:
    """Adds an epoch."""
    followed.apply({"name": "dense", "rows": [[1.0]]})


def test_a_sink_is_tried_again_after_half_a_minute(sink: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """No epoch within 30 s of a failure is an attempt; the next attempt has all epochs, and one failure is told."""
    clock, followed, told = Clock(), Waits(), list[str]()
    monkeypatch.setattr(follow, "time", clock)
    assert RETRY_S == 30
    epoch(followed)
    Follower(NAME, followed, lambda _, text: told.append(text)).start()

    def after(seconds: float) -> list[int]:
        """Adds an epoch so many seconds later, and returns the epochs of all attempts."""
        clock.now += seconds
        waits = followed.count
        epoch(followed)
        wait_until(lambda: followed.count > waits, 60)
        return sink.epochs

    wait_until(lambda: followed.count == 2, 60)  # before the first state, and after the first failure
    assert sink.epochs == [1]
    assert after(29) == [1]
    assert after(1) == [1, 3]
    assert after(29) == [1, 3]
    assert after(1) == [1, 3, 5]
    assert after(0) == [1, 3, 5, 6]
    assert told == ["refused 1", "refused 2"]  # of which the reporter writes the first
    followed.apply({"status": "FINISHED"})


def test_a_sink_is_tried_again_between_epochs(sink: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the next attempt ends by itself, so that a long epoch keeps no sink away."""
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    followed = Followed()
    epoch(followed)
    follower = Follower(NAME, followed, lambda *_: None)
    follower.start()
    wait_until(lambda: len(sink.epochs) == 3, 60)
    assert sink.epochs == [1, 1, 1]
    followed.apply({"status": "FINISHED"})
    follower.join(60)
    assert not follower.is_alive()
