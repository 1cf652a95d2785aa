"""history.csv, which grows while the model trains: each epoch replaces the file as a whole.

DVC removes the outputs of a stage before it runs, and the engine moves them away, so the file grows at its own place,
where DVC's plots read it. Where the outputs of an earlier training lie, as after the program was started by hand, they
stay as they are until the new ones replace them together. The checkpoint has the history of an interrupted training.
"""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.base.errors import OutputError
from stages.base.files import replacing
from stages.base.streams import tell
from stages.train.progress import Epoch

HISTORY = "history.csv"
OUTPUTS = ("model.keras", "model.onnx", HISTORY, "training.json")


@contextmanager
def live_history(out: Path, names: Sequence[str]) -> Iterator[Callable[[Sequence[Epoch]], None]]:
    """Yields a function that replaces history.csv in the folder `out`; removes the file if the training fails.

    A file that cannot be written does not fail the training: the first time a warning says so.

    Args:
        out: the folder of the outputs; the function does nothing if it has other outputs than history.csv.
        names: the columns of the file.
    """
    path, is_live = out / HISTORY, not any((out / name).exists() for name in OUTPUTS if name != HISTORY)
    reported = list[OutputError]()

    def update(history: Sequence[Epoch]) -> None:
        if not is_live or not history:
            return
        try:
            with replacing(path) as temporary:
                write_history(temporary, history, names)
        except OutputError as error:
            if not reported:
                tell(f"warning: the live history is not shown ({error}); the training goes on")
            reported.append(error)

    try:
        yield update
    except BaseException:
        with suppress(OSError):
            if is_live:
                path.unlink(missing_ok=True)
        raise


def write_history(path: Path, history: Iterable[Epoch], names: Sequence[str]) -> None:
    """Writes history.csv, one line per epoch, with the columns `names`; values that are not known stay empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(names)
        lines.writerows([["" if math.isnan(value) else value for value in epoch] for epoch in history])
