"""Errors of the trials of a search: which of them say nothing about the parameters, and the error that ends a search.

InkflowError
├── ScoreNotFinite    the score of a trial is no finite number
├── MachineFailed     the machine, a work pool or the DVC remote did not let a trial run
└── TrialsFailed      many trials of a search failed one after another
"""

from flows.core.errors import CannotBeSent, NoRemote, NotEnoughMemory, PoolUnusable
from stages.base.errors import InkflowError, machine_fault

OF_THE_SETTING = (CannotBeSent, NoRemote, NotEnoughMemory, PoolUnusable)  # another trial meets them too


class ScoreNotFinite(InkflowError):
    """The score of a trial is no finite number, as after a training that diverged; the trial failed."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__(f"{name} is {value}, which cannot be compared")


class MachineFailed(InkflowError):
    """A trial could not run, whatever its parameters; the message is that of the first error."""


class TrialsFailed(InkflowError):
    """Trials of a search failed one after another; `last` is the error of the last one."""

    def __init__(self, count: int, last: object) -> None:
        super().__init__(
            f"the last {count} trials failed, so the search ends: {last}; fix the cause and call the same command "
            "again, which goes on"
        )


def is_machine_fault(error: BaseException | None) -> bool:
    """Returns True if an error of a trial says nothing about its parameters, such as a full disk or a missing pool."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, (MachineFailed, *OF_THE_SETTING)) or machine_fault(error) is not None:
            return True
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
