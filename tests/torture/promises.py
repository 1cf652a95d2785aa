"""A promise, the attempts to break it, and the record of them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest


class BrokenPromise(AssertionError):
    """An attempt broke a promise, or nothing tried it."""


@dataclass
class Promise:
    """A sentence that must hold, how the attempts try to break it, and what became of them."""

    subject: str
    text: str
    how: str
    attempts: int = 0
    broken: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self, name: object) -> Iterator[None]:
        """Counts an attempt; an error in it is noted with its type, and the next attempts go on."""
        self.attempts += 1
        with self.verdict(name):
            yield

    @contextmanager
    def verdict(self, name: object) -> Iterator[None]:
        """Judges what all attempts left behind: an error is noted as in an attempt, but no attempt is counted."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a limit of time or a program that fails breaks it as well
            self.broken.append(f"{name}: {_described(error)}")

    def count(self, attempts: int) -> None:
        """Counts attempts that are not made by `attempt`; `verdict` notes those that fail."""
        self.attempts += attempts

    def record(self, path: Path) -> None:
        """Appends the promise to `path`, a line of JSON; what broke it goes to a text file beside it, at once."""
        line = {"subject": self.subject, "promise": self.text, "how": self.how, "test": current_test()}
        numbers = {"attempts": self.attempts, "broken": len(self.broken), "date": datetime.now(UTC).date().isoformat()}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | numbers) + "\n")
        if self.broken:
            with path.with_suffix(".broken.txt").open("a", encoding="utf-8") as file:
                file.write("\n".join([current_test(), *self.broken, ""]))

    def check(self) -> None:
        """Ends the trial.

        Raises:
            BrokenPromise: An attempt broke the promise, or there was none.
        """
        if not self.attempts and not self.broken:
            raise BrokenPromise(f"nothing tried: {self.text}")
        if self.broken:
            raise BrokenPromise(f"{len(self.broken)} of {self.attempts} attempts:\n" + "\n".join(self.broken))


@contextmanager
def kept(promise: Promise, record: Path | None) -> Iterator[Promise]:
    """Tries `promise` in the body, and writes it to `record` if there is one.

    An error outside the attempts counts as an attempt that broke the promise, but for the end of another promise. A
    trial that is skipped or ended by hand writes nothing, unless an attempt has broken the promise: then it is broken.

    Raises:
        BrokenPromise: An attempt broke it, or there was none.
    """
    is_over = True
    try:
        yield promise
    except BrokenPromise as error:
        if promise.broken:
            promise.check()  # tells both
        raise error
    except (Exception, pytest.fail.Exception) as error:  # pytest-timeout fails the test
        promise.attempts += 1
        promise.broken.append(f"outside an attempt: {_described(error)}")
        raise
    except BaseException as error:  # skipped, or ended by hand
        is_over = bool(promise.broken)
        if is_over and isinstance(error, pytest.skip.Exception):
            promise.check()
        raise
    finally:
        if record and is_over:
            promise.record(record)
    promise.check()


def current_test() -> str:
    """Returns the test that pytest runs, as pytest names it: its file, its function and its parameters."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


def _described(error: BaseException) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
