"""Errors of `flows`, below the tree of `stages.base.errors`.

InkflowError
├── StageFailed          the program of a stage ended with an error; its exit code is kept
├── UndeclaredInputs     a stage has read files of the project that are not among its dependencies
├── StageTimedOut        a stage exceeded its time limit
├── Interrupted          the run was interrupted
├── Pruned               a trial of a search was ended early, since others are better
├── InputsChanged        an input of a stage changed while the stage ran
├── DvcFailed            DVC could not hash, cache, restore or record
├── GitFailed            a git command failed
├── ServerUnreachable    the Prefect server does not answer
├── ProgramFailed        a program that is no stage ended with an error; its exit code is kept
├── NotEnoughMemory      a stage asks for more memory than this machine has
├── GatesFailed          a model failed a quality gate of params.yaml
├── RegistryFailed       GTO could not read or write the tags of the registry
├── PromotionRefused     a model may not have the stage: uncommitted, outdated, failed or worse
├── RemoteFailed         the DVC remote cannot be reached or used
├── TransferFailed       the DVC remote could not send or store the files of one stage
├── ForgeFailed          GitHub or GitLab refused a request, could not be reached, or answered with something else
│   └── CommentFailed    the comment on a pull or merge request could not be written
├── BranchKept           the branch of a retraining could not be pushed, or its request not be opened
├── PoolFailed           no worker of a work pool finished a stage
└── InvalidInput
    ├── CannotBeSent     a stage cannot run in a work pool: a worker cannot get its inputs or return its outputs
    ├── PoolUnusable     a work pool or its deployment does not exist
    ├── OrderUnusable    a worker cannot run a stage that was sent to it
    ├── UnknownStage     the graph has no stage of that name
    ├── NoRemote         a DVC remote is needed and none is configured
    ├── SpecialFile      a named pipe, a socket or a device is among the files of a stage
    ├── RevisionUnusable a revision does not exist, or its files are not available
    ├── PipelineInvalid  DVC cannot read the graph
    │   └── NoStages     dvc.yaml has no stages, while dvc.lock records outputs
    └── PolicyInvalid    execution.yaml has mistakes
"""

from collections.abc import Iterable, Sequence

from flows.core.progress import killed_by, killed_reason, position
from flows.core.redaction import mask
from flows.core.values import counted
from stages.base.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, InkflowError, InvalidInput
from stages.base.suggestions import did_you_mean

EXIT_TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h: with it the program of a stage requests a retry


class StageFailed(InkflowError):
    """The program of a stage ended with the exit code `code`; `lines` are the last lines that it printed.

    A negative code is the number of the signal that killed the program.
    """

    def __init__(self, stage: str, code: int, lines: Sequence[str]) -> None:
        self.stage, self.code, self.lines = stage, code, tuple(lines)
        self.exit_code = code if code > 0 else EXIT_FAILED
        killer = killed_by(code)
        if killer is not None and (code < 0 or not error_message(lines)):
            self.exit_code = EXIT_FAILED  # a shell between reports 128 and the number of the signal
            super().__init__(f"{stage}: {killed_reason(killer, lines)}")
        else:
            message = error_message(lines) or "\n".join(lines[-1:]) or "it printed no message"
            super().__init__(f"{stage} failed (exit code {code}): {message}")


class UndeclaredInputs(InkflowError):
    """A stage has read files that are not among its dependencies, or hides what it reads; its policy forbids it."""


class StageTimedOut(InkflowError):
    """A stage exceeded its time limit."""

    def __init__(self, stage: str, timeout_s: float, lines: Sequence[str] = ()) -> None:
        super().__init__(
            f"{stage} was stopped{position(lines)} after {timeout_s:g} s, its time limit; "
            "raise timeout_s in execution.yaml if it needs more"
        )


class Interrupted(InkflowError):
    """The run was interrupted; the outputs of the stages that were running were removed."""

    exit_code = EXIT_INTERRUPTED

    def __init__(self, stage: str) -> None:
        super().__init__(f"{stage} was interrupted before it finished")


class Pruned(InkflowError):
    """A trial of a search was ended early, since others are better: neither a failure nor an interruption."""

    def __init__(self, trial: str, reason: str) -> None:
        super().__init__(f"{trial}: pruned {reason}")


class InputsChanged(InkflowError):
    """An input of a stage changed while the stage ran, so its outputs belong to no state of the inputs."""

    def __init__(self, stage: str, names: Sequence[str]) -> None:
        super().__init__(f"{stage}: {', '.join(names)} changed while it ran; its result is not recorded, run again")


class SpecialFile(InvalidInput):
    """A file of a stage is a named pipe, a socket or a device."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(
            f"{path} is a {kind}, expected a file or a folder, since DVC cannot hash it; remove it, or list it in "
            ".dvcignore"
        )


class DvcFailed(InkflowError):
    """DVC could not hash, cache, restore or record; the message is DVC's own."""


class GitFailed(InkflowError):
    """A git command failed; `arguments` is the command line after `git`, `reason` is git's own message."""

    def __init__(self, arguments: Sequence[str], reason: str) -> None:
        self.reason = reason
        command = next((word for word in arguments if not word.startswith("-") and "=" not in word), "")
        super().__init__(f"git {command}: {reason}")


class ServerUnreachable(InkflowError):
    """The Prefect server at `url` cannot be used; without `url`, the temporary one."""

    def __init__(self, url: str | None, problem: object) -> None:
        advice = (
            "start it, correct PREFECT_API_URL, or unset it for a temporary one "
            "(`prefect config unset PREFECT_API_URL` if a profile sets it)"
        )
        super().__init__(
            mask(f"the Prefect server at {url} cannot be used: {problem}; {advice}")
            if url
            else f"the temporary Prefect server cannot be used: {problem}"
        )


class UnknownStage(InvalidInput):
    """The graph has no stage of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown stage {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")


class PolicyInvalid(InvalidInput):
    """execution.yaml has mistakes."""


class PipelineInvalid(InvalidInput):
    """DVC cannot read the graph."""


class NoStages(PipelineInvalid):
    """dvc.yaml is empty or cut, while dvc.lock records outputs of stages."""

    def __init__(self, recorded: int) -> None:
        super().__init__(
            f"dvc.yaml has no stages, but dvc.lock records outputs of {counted(recorded, 'stage')}; restore "
            "dvc.yaml with `git checkout dvc.yaml`, or delete dvc.lock"
        )


class ProgramFailed(InkflowError):
    """A program of `stages` that is no stage failed; message and exit code are its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class RevisionUnusable(InvalidInput):
    """A revision does not exist, or its files are not available."""


class CannotBeSent(InvalidInput):
    """A stage cannot run in a work pool: a worker cannot get its inputs or return its outputs."""

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"{stage} cannot be sent to a worker: {problem}, or run here with `inkflow run --local`")


class PoolUnusable(InvalidInput):
    """A work pool or its deployment does not exist."""

    def __init__(self, stage: str, pool: str, problem: str, advice: str) -> None:
        super().__init__(
            f"{stage} runs in the work pool {pool}, and {problem}; {advice}, or run here with `inkflow run --local`"
        )


class OrderUnusable(InvalidInput):
    """A worker cannot run a stage that was sent to it: other package versions, or a commit that it cannot fetch."""


class NotEnoughMemory(InkflowError):
    """A stage asks for more memory than this machine has for stages; it did not start."""

    def __init__(self, stage: str, asked: str, total: str) -> None:
        super().__init__(
            f"{stage} did not start: execution.yaml asks for {asked} of memory, and this machine has {total} for "
            "stages; lower `memory`, set `resources: {memory: ...}` there, or run the stage in a work pool"
        )


class PoolFailed(InkflowError):
    """No worker of a work pool finished a stage: the pool has no worker, or all that took the stage were lost."""


class TransferFailed(InkflowError):
    """The DVC remote could not send or store the files of one stage: unreachable, full or without permission."""

    def __init__(self, stage: str, action: str, cause: str) -> None:
        super().__init__(
            f"{stage}: the DVC remote could not {action}: {cause}; `dvc push` and `dvc pull` try it by hand"
        )


class RegistryFailed(InkflowError):
    """GTO could not read or write the tags of the registry; the message is its own."""


class PromotionRefused(InkflowError):
    """A model may not have the stage: it is not committed, outdated, failed a gate, or is worse than what holds it."""


class GatesFailed(InkflowError):
    """A model failed a quality gate of params.yaml."""

    def __init__(self, failed: Sequence[str]) -> None:
        super().__init__(f"{counted(len(failed), 'quality gate')} failed: {'; '.join(failed)}")


class NoRemote(InvalidInput):
    """A DVC remote is needed and none is configured; `stage` is the stage in a work pool that needs it."""

    def __init__(self, stage: str | None = None) -> None:
        reason = alternative = ""
        if stage:
            reason = f"{stage} runs in a work pool, which exchanges data through a DVC remote: "
            alternative = ", or run it here with `inkflow run --local`"
        super().__init__(
            f"{reason}no DVC remote is configured; add one: `dvc remote add -d NAME URL` (docs/remotes.md){alternative}"
        )


class RemoteFailed(InkflowError):
    """The DVC remote cannot be reached or used; local files are unchanged."""

    def __init__(self, name: str, url: str, reason: str) -> None:
        remote = f"the DVC remote {name} ({url})" if name else "a DVC remote"  # without a default one
        super().__init__(
            mask(
                f"{remote} cannot be used: {reason}; no local file was lost, "
                "fix the remote and run again (docs/remotes.md)"
            )
        )


class ForgeFailed(InkflowError):
    """GitHub or GitLab refused a request with the HTTP status `code`, could not be reached, or answered otherwise."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(mask(reason))


class CommentFailed(ForgeFailed):
    """The comment on a pull or merge request could not be written."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the comment could not be written: {reason}")


class BranchKept(InkflowError):
    """The local branch of a retraining is complete, but could not be pushed, or its request could not be opened."""

    def __init__(self, branch: str, problem: object) -> None:
        super().__init__(mask(f"the branch {branch} is kept here, but {problem}"))


def error_message(lines: Iterable[str]) -> str:
    """Returns the `error: ` lines of a program without that prefix; an empty text if there are none."""
    return "\n".join(line.removeprefix("error: ") for line in lines if line.startswith("error: "))


def is_retryable(error: BaseException | None) -> bool:
    """Returns True if a retry may succeed: an unavailable source or a time limit, but not a wrong parameter."""
    if isinstance(error, StageFailed):
        return error.code in (EXIT_UNAVAILABLE, EXIT_TEMPORARY)
    return isinstance(error, StageTimedOut)
