"""Shows the progress of a stage as a progress artifact of its Prefect task."""

import hashlib
import re
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.core.progress import parse_progress

MAX_KEY = 100  # characters
INTERVAL_S = 5.0  # between updates: each is an event in the server's database, which a run of hours would fill


class ProgressArtifact:
    """The progress artifact of one task run, created with the first line that reports progress."""

    def __init__(self, stage: str, log: Callable[[str], object]) -> None:
        """Create nothing yet.

        Args:
            stage: name of the stage.
            log: receives the first error of the artifact; later progress is then dropped, and the task goes on.
        """
        self._stage = stage
        self._log = log
        self._id: UUID | None = None
        self._is_broken = False
        self._sent_at = -INTERVAL_S

    def update(self, text: str) -> None:
        """Update the progress from the last line of `text`, output of the stage, that reports any; not too often."""
        if time.monotonic() - self._sent_at < INTERVAL_S:
            return
        progress = next(filter(None, map(parse_progress, reversed(text.splitlines()))), None)
        if progress:
            self._set(100.0 * progress[0] / progress[1])
            self._sent_at = time.monotonic()

    def close(self) -> None:
        """Set the progress to 100 percent, for a stage that succeeded."""
        if self._id is not None:
            self._set(100.0)

    def _set(self, percent: float) -> None:
        if self._is_broken:
            return
        try:
            self._send(percent)
        except Exception as error:  # noqa: BLE001 - Prefect's client documents no errors, and none may fail the task
            self._is_broken = True
            self._log(f"the progress of {self._stage} cannot be shown: {error}")

    def _send(self, percent: float) -> None:
        if self._id is None:
            self._id = create_progress_artifact(
                progress=percent, key=_key(self._stage), description=f"Progress of {self._stage}"
            )  # type: ignore[assignment]
        else:
            update_progress_artifact(self._id, progress=percent)


def _key(stage: str) -> str:
    """Returns the artifact's key, for which Prefect allows small letters, digits and dashes."""
    key = re.sub(r"[^a-z0-9]+", "-", f"progress-{stage}".lower()).strip("-")
    if stage.isascii() and len(key) <= MAX_KEY:
        return key
    return f"{key[: MAX_KEY - 9]}-{hashlib.sha256(stage.encode(errors='surrogateescape')).hexdigest()[:8]}"
