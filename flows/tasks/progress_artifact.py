"""How far a stage is, as a progress artifact of its Prefect task."""

import re
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.engine.display.progress_parser import steps


class ProgressArtifact:
    """The progress of one task run; made with the first line that tells of any."""

    def __init__(self, stage: str, say: Callable[[str], object]) -> None:
        """Of `stage`; what goes wrong with it goes to `say`, once: a task is not worse for it."""
        self._stage = stage
        self._say = say
        self._id: UUID | None = None
        self._works = True

    def update(self, text: str) -> None:
        """Take a line of the stage's output."""
        told = steps(text)
        if told:
            self._show(100.0 * told[0] / told[1])

    def close(self) -> None:
        """The stage ended well."""
        if self._id is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        try:
            if self._works:
                self._put(percent)
        except Exception as error:  # noqa: BLE001 - whatever the client makes of what a server answers, or does not
            self._works = False
            self._say(f"the progress of {self._stage} cannot be shown: {error}")

    def _put(self, percent: float) -> None:
        if self._id is None:
            key = re.sub(r"[^a-z0-9]+", "-", f"progress-{self._stage}".lower()).strip("-")
            self._id = create_progress_artifact(progress=percent, key=key, description=f"Progress of {self._stage}")  # type: ignore[assignment]
        else:
            update_progress_artifact(self._id, progress=percent)
