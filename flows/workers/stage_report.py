"""What a worker says of a stage that it runs: an artifact of its flow run, renewed as a sign of life."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from flows.core.errors import Interrupted, StageFailed, StageTimedOut
from flows.core.redaction import mask
from stages.base.errors import InkflowError, InvalidInput

ARTIFACT = "table"  # Prefect's page shows it as one
BEAT_S = 3.0
LINES = "stage"  # logger of the lines that the stage prints, apart from what Prefect says


class Ending(StrEnum):
    """How a stage ended on a worker."""

    NONE = ""
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    BROKEN = "could not be run"


@dataclass(frozen=True)
class Report:
    """One stage on one worker; `beat` grows as long as the worker lives."""

    worker: str
    stage: str
    doing: str = ""
    beat: int = 0
    ending: Ending = Ending.NONE
    code: int = 0
    words: str = ""

    def to_table(self) -> str:
        """For the artifact: a table of one row."""
        return json.dumps([asdict(self)])

    @classmethod
    def from_table(cls, table: object) -> "Report | None":
        """The report in an artifact; None where it is something else."""
        try:
            row = json.loads(str(table))[0]
            return cls(**{**row, "ending": Ending(row["ending"])})
        except (ValueError, KeyError, IndexError, TypeError):
            return None

    def error(self, timeout_s: float | None) -> InkflowError:
        """The error that the stage ended with, as if it had run here."""
        if self.ending is Ending.FAILED:
            return StageFailed(self.stage, self.code, self.words.splitlines())
        if self.ending is Ending.TIMED_OUT:
            return StageTimedOut(self.stage, timeout_s or 0.0)
        if self.ending is Ending.INTERRUPTED:
            return Interrupted(self.stage)
        said = f"{self.stage} on worker {self.worker}: {self.words.removeprefix(f'{self.stage}: ')}"
        return InvalidInput(said) if self.ending is Ending.REFUSED else InkflowError(said)


def ending_of(error: InkflowError) -> tuple[Ending, int, str]:
    """How `error` is told in a report: its kind, exit code and words, without secrets."""
    if isinstance(error, StageFailed):
        return Ending.FAILED, error.code, mask("\n".join(error.lines))
    words = mask(str(error))
    if isinstance(error, StageTimedOut):
        return Ending.TIMED_OUT, 0, words
    if isinstance(error, Interrupted):
        return Ending.INTERRUPTED, 0, words
    return Ending.REFUSED if isinstance(error, InvalidInput) else Ending.BROKEN, 0, words
