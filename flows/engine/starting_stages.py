"""The stages that have started and whose commands have not, so that slow imports wait until processors are free."""

import threading


class StartingStages:
    """A set of names; called from many threads."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._changed = threading.Condition()

    def add(self, name: str) -> None:
        """Adds a stage; an empty name stands for the first stages, before they are known."""
        with self._changed:
            self._names.add(name)

    def remove(self, name: str) -> None:
        """Removes a stage whose command has started, or that has ended."""
        with self._changed:
            self._names.discard(name)
            self._changed.notify_all()

    def clear(self) -> None:
        """Removes all stages."""
        with self._changed:
            self._names.clear()
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Waits up to `timeout_s` until there is none."""
        with self._changed:
            self._changed.wait_for(lambda: not self._names, timeout_s)
