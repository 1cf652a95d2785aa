"""A promise, the attempts to break it, and the record of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


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
        """Counts an attempt; an assertion that fails in it is noted, and the next attempts go on."""
        self.attempts += 1
        try:
            yield
        except AssertionError as error:
            self.broken.append(f"{name}: {error}")

    def count(self, attempts: int) -> None:
        """Counts attempts that another program made, all of which held."""
        self.attempts += attempts

    def record(self, path: Path) -> None:
        """Appends the promise to `path`, a line of JSON."""
        line = {"subject": self.subject, "promise": self.text, "how": self.how}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"attempts": self.attempts, "broken": len(self.broken)}) + "\n")


@contextmanager
def kept(promise: Promise, record: Path | None) -> Iterator[Promise]:
    """Tries `promise` in the body, writes it to `record` if there is one.

    Raises:
        AssertionError: An attempt broke it, or there was none.
    """
    yield promise
    if record:
        promise.record(record)
    assert promise.attempts, f"nothing tried: {promise.text}"
    assert not promise.broken, f"{len(promise.broken)} of {promise.attempts} attempts:\n" + "\n".join(promise.broken)
