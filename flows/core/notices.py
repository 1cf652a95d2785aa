"""Notices of a run that does not use the data set that was asked for, and notes on files that are not used."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.core.redaction import say_if_possible
from stages.base.digests import read_sealed
from stages.base.shown_text import indented

if TYPE_CHECKING:  # the schema takes 0.12 s to import, and other DVC projects do not need it
    from stages.params.schema import Params

NO_STAGES = "Nothing to do: dvc.yaml has no stages."
Form = TypeVar("Form")


def fallback_notice(dataset: str, fallback: str, *, in_clone: bool) -> str:
    """Returns the notice that `dataset` is not available and `fallback` replaces it, in a clone or in params.yaml."""
    consequence = (
        f"params.yaml still names {dataset}: the result becomes a DVC experiment."
        if in_clone
        else f"params.yaml now names {fallback}; go back with: inkflow run --dataset {dataset}"
    )
    return f"{dataset} IS NOT AVAILABLE HERE, for the reason above. The run continues with {fallback}.\n{consequence}"


def stand_in_notice(params: "Params | None") -> str | None:
    """Returns the notice that the chosen data set only stands in for another; None if it does not."""
    if params is None or params.selected_dataset.stand_in_for is None:
        return None
    real = params.selected_dataset.stand_in_for
    return (
        f"THIS RUN IS ON {params.dataset}, NOT ON {real}: its figures say nothing about {real}.\n"
        f"To run on the real data set: inkflow run --dataset {real}"
    )


@functools.cache
def note_once(text: str) -> None:
    """Prints a note to standard error, since standard output may be JSON; the same note only once in a process."""
    say_if_possible(f"note: {indented(text)}", error=True)


def read_kept(path: Path, is_lost: str, checked: Callable[[dict[str, Any]], Form]) -> Form | None:
    """Returns what `checked` makes of a record with a digest; None without the file, or with a note if it is damaged.

    Args:
        path: the file.
        is_lost: the end of the note on a damaged file: what is not known without it.
        checked: raises a ValueError, TypeError, AttributeError or LookupError if the record has another form.
    """
    try:
        return checked(read_sealed(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
    note_once(f"{path} cannot be read ({reason}): {is_lost}")
    return None
