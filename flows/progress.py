"""How far a stage is, as a progress artifact of its Prefect task."""

import re
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.steps import steps


class ProgressArtifact:
    """The progress of one task run; made with the first line that tells of any."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._id: UUID | None = None

    def hear(self, text: str) -> None:
        """Take a line of the stage's output."""
        told = steps(text)
        if told:
            self._show(100.0 * told[0] / told[1])

    def close(self) -> None:
        """The stage is done."""
        if self._id is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        if self._id is None:
            key = re.sub(r"[^a-z0-9]+", "-", f"progress-{self._stage}".lower()).strip("-")
            self._id = create_progress_artifact(progress=percent, key=key, description=f"Progress of {self._stage}")  # type: ignore[assignment]
        else:
            update_progress_artifact(self._id, progress=percent)
