"""Defines a worker's report on the stage that it runs: an artifact of its flow run, updated as a heartbeat."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.core.redaction import mask, mask_content
from stages.base.errors import InkflowError, InvalidInput

ARTIFACT_TYPE = "table"  # Prefect's page shows the report as a table
HEARTBEAT_S = 3.0
STAGE_LOGGER = "stage"  # its log records are the stage's output; those of Prefect have other loggers


class ExitStatus(StrEnum):
    """How a stage ended on a worker; the values are part of the report."""

    NONE = ""  # still running
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    BROKEN = "could not be run"


@dataclass(frozen=True)
class Report:
    """The report on one stage on one worker.

    Attributes:
        worker: name of the worker.
        stage: name of the stage.
        doing: current activity of the worker.
        beat: number of the report; it grows as long as the worker is alive.
        ending: how the stage ended.
        code: exit code of a failed stage.
        words: error message, or the last lines of a failed stage.
    """

    worker: str
    stage: str
    doing: str = ""
    beat: int = 0
    ending: ExitStatus = ExitStatus.NONE
    code: int = 0
    words: str = ""

    def to_table(self) -> str:
        """Return the data of the artifact: a JSON table with one row, masked."""
        return json.dumps(mask_content([asdict(self)]))

    @classmethod
    def from_table(cls, table: object) -> "Report | None":
        """Parse the data of an artifact; None if it is not a report."""
        try:
            row = json.loads(str(table))[0]
            return cls(**{**row, "ending": ExitStatus(row["ending"])})
        except (ValueError, KeyError, IndexError, TypeError):
            return None

    def error(self, timeout_s: float | None) -> InkflowError:
        """Return the error that ended the stage, equal to the error of a local run."""
        if self.ending is ExitStatus.FAILED:
            return StageFailed(self.stage, self.code, self.words.splitlines())
        if self.ending is ExitStatus.TIMED_OUT:
            return StageTimedOut(self.stage, timeout_s or 0.0)
        if self.ending is ExitStatus.INTERRUPTED:
            return Interrupted(self.stage)
        message = f"{self.stage} on worker {self.worker}: {self.words.removeprefix(f'{self.stage}: ')}"
        return InvalidInput(message) if self.ending is ExitStatus.REFUSED else InkflowError(message)


def describe_error(error: InkflowError) -> tuple[ExitStatus, int, str]:
    """Return the fields `ending`, `code` and `words` of a report on `error`, without secrets."""
    if isinstance(error, StageFailed):
        return ExitStatus.FAILED, error.code, mask("\n".join(error.lines))
    message = mask(str(error))
    if isinstance(error, StageTimedOut):
        return ExitStatus.TIMED_OUT, 0, message
    if isinstance(error, Interrupted):
        return ExitStatus.INTERRUPTED, 0, message
    return ExitStatus.REFUSED if isinstance(error, InvalidInput) else ExitStatus.BROKEN, 0, message
