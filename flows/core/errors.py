"""What can go wrong while stages are run, below the tree of `stages.base.errors`.

InkflowError
├── StageFailed          a stage's program ended with an error (its own exit code is kept)
├── StageTimedOut        a stage took longer than its time limit
├── Interrupted          somebody ended the run
├── InputsChanged        something a stage reads was edited while it ran
├── DvcFailed            DVC could not hash, cache or record
├── ServerUnreachable    the Prefect server does not answer
├── ProgramFailed        a program that is no stage ended with an error (its own exit code is kept)
├── GatesFailed          a model did not reach what params.yaml asks of it
├── RemoteFailed         a DVC remote cannot be reached, used or filled
├── RemoteUnusable       the DVC remote could not take or give what one stage needs
├── CommentFailed        a pull or merge request takes no comment
├── PoolFailed           nobody in a work pool runs a stage: no worker is there, or all that took it were lost
└── InvalidInput
    ├── CannotBeSent     a worker could not see what a stage reads, or could not give its result
    ├── PoolUnusable     a work pool or its deployment is not there
    ├── OrderUnusable    a worker cannot do what it was sent
    ├── UnknownStage     a name that the graph does not have
    ├── NoRemote         a DVC remote is needed and none is configured
    ├── RevisionUnusable a version is not known, or its files cannot be had
    ├── PipelineInvalid  dvc.yaml cannot be read as a graph
    └── PolicyInvalid    execution.yaml has mistakes
"""

from collections.abc import Sequence

from flows.core.redaction import mask
from stages.base.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, InkflowError, InvalidInput
from stages.base.suggestions import did_you_mean

EXIT_TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h: a stage's program may ask so for a further try


class StageFailed(InkflowError):
    """A stage's program ended with an error; `code` is its exit code, `lines` its last words."""

    def __init__(self, stage: str, code: int, lines: Sequence[str]) -> None:
        self.stage, self.code, self.lines = stage, code, tuple(lines)
        self.exit_code = code if code > 0 else EXIT_FAILED
        super().__init__(f"{stage} failed (exit code {code}): {self.own_message}")

    @property
    def own_message(self) -> str:
        """The stage's own error sentence where it said one, else its last lines."""
        said = [line.removeprefix("error: ") for line in self.lines if line.startswith("error: ")]
        return "\n".join(said or self.lines[-1:]) or "it said nothing"


class StageTimedOut(InkflowError):
    """A stage took longer than its time limit."""

    def __init__(self, stage: str, timeout_s: float) -> None:
        super().__init__(
            f"{stage} was ended after {timeout_s:g} s, its time limit; "
            "raise timeout_s in execution.yaml if it needs more"
        )


class Interrupted(InkflowError):
    """Somebody ended the run; what was running left no trace."""

    exit_code = EXIT_INTERRUPTED

    def __init__(self, stage: str) -> None:
        super().__init__(f"{stage} was ended before it was done")


class InputsChanged(InkflowError):
    """What a stage reads changed while it ran: its result belongs to no state of the inputs."""

    def __init__(self, stage: str, names: Sequence[str]) -> None:
        super().__init__(f"{stage}: {', '.join(names)} changed while it ran; its result is not recorded, run again")


class DvcFailed(InkflowError):
    """DVC could not hash, cache, restore or record; the message is DVC's own."""


class ServerUnreachable(InkflowError):
    """The Prefect server does not answer."""

    def __init__(self, url: str | None, problem: BaseException) -> None:
        server = f"the Prefect server at {url}" if url else "a temporary Prefect server"
        super().__init__(
            f"{server} cannot be reached ({problem}); start it with `prefect server start`, "
            "or unset PREFECT_API_URL for a temporary one"
        )


class UnknownStage(InvalidInput):
    """A name that the graph does not have."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown stage {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")


class PolicyInvalid(InvalidInput):
    """execution.yaml has mistakes."""


class PipelineInvalid(InvalidInput):
    """DVC cannot read the graph."""


class ProgramFailed(InkflowError):
    """A program of `stages` failed; the message is its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class RevisionUnusable(InvalidInput):
    """A version is not known, or its files cannot be had."""


class CannotBeSent(InvalidInput):
    """A worker could not see what a stage reads, or could not give its result."""

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"{stage} cannot be sent to a worker: {problem}, or run here with `inkflow run --local`")


class PoolUnusable(InvalidInput):
    """A work pool or its deployment is not there."""

    def __init__(self, stage: str, pool: str, problem: str, advice: str) -> None:
        super().__init__(
            f"{stage} runs in the work pool {pool}, and {problem}; {advice}, or run here with `inkflow run --local`"
        )


class OrderUnusable(InvalidInput):
    """A worker cannot do what it was sent: other versions, a commit that it cannot fetch."""


class PoolFailed(InkflowError):
    """Nobody in a work pool runs a stage."""


class RemoteUnusable(InkflowError):
    """The DVC remote cannot be reached, is full, or refuses."""

    def __init__(self, stage: str, what: str, cause: str) -> None:
        super().__init__(f"{stage}: the DVC remote could not {what}: {cause}; `dvc push` and `dvc pull` try it by hand")


class GatesFailed(InkflowError):
    """A model did not reach what params.yaml asks of it."""

    def __init__(self, failed: Sequence[str]) -> None:
        super().__init__(f"{len(failed)} quality gate{'s' * (len(failed) > 1)} failed: {'; '.join(failed)}")


class NoRemote(InvalidInput):
    """A DVC remote is needed, and none is configured; `stage` is the one that was to run in a work pool."""

    def __init__(self, stage: str | None = None) -> None:
        why, instead = "", ""
        if stage:
            why = f"{stage} runs in a work pool, and data goes there and back by a DVC remote: "
            instead = ", or run it here with `inkflow run --local`"
        super().__init__(
            f"{why}no DVC remote is configured; name one: `dvc remote add -d NAME URL` (docs/remotes.md){instead}"
        )


class RemoteFailed(InkflowError):
    """A DVC remote cannot be reached, used or filled; what is here is as it was."""

    def __init__(self, name: str, url: str, reason: str) -> None:
        super().__init__(
            mask(
                f"the DVC remote {name} ({url}) cannot be used: {reason}; nothing here was lost, "
                "mend that and run again (docs/remotes.md)"
            )
        )


class CommentFailed(InkflowError):
    """A pull or merge request takes no comment."""

    def __init__(self, reason: str) -> None:
        super().__init__(mask(f"the comment could not be written: {reason}"))


def can_pass_by_itself(error: BaseException | None) -> bool:
    """True where a further try may help: an unavailable source, a time limit. A bad parameter stays bad."""
    if isinstance(error, StageFailed):
        return error.code in (EXIT_UNAVAILABLE, EXIT_TEMPORARY)
    return isinstance(error, StageTimedOut)
