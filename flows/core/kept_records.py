"""Records with a digest that only help a command: without a usable one it goes on, and a note says what is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flows.core.notices import note_once
from stages.base.digests import read_sealed

Form = TypeVar("Form")


def read_kept(path: Path, is_lost: str, checked: Callable[[dict[str, Any]], Form]) -> Form | None:
    """Returns what `checked` makes of the record in the file `path`; None if there is none, or a note says why.

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
