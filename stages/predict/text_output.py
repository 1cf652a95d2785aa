"""The output of `inkflow predict` for people: a header, a line for each image, grouped refusals, and a summary."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from stages.base.errors import OutputError
from stages.base.shown_text import mask_urls
from stages.base.streams import tell
from stages.model.tasks import STAND_IN
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import escape_unprintable
from stages.predict.results import Prediction, Result, Value

MIN_WIDTH, MAX_WIDTH = 5, 40  # of the column of names; longer ones shift their line
MIN_GROUP = 3  # refusals with the same reason; fewer have a line each
MAX_REASONS, MAX_NAMED = 100, 10  # of refusals: more reasons are printed at once, more names of a reason are counted


class Style(NamedTuple):
    """What is written beside the fields of an answer.

    Attributes:
        columns: Fields of an answer.
        marks: Columns with the same value in each row.
        classes: Names of the classes whose probabilities are written; none without `--all`.
        anyway: Write an answer where the model is unsure, too.
    """

    columns: tuple[str, ...]
    marks: Mapping[str, str]
    classes: tuple[str, ...] = ()
    anyway: bool = False


@contextmanager
def to_standard_output() -> Iterator[None]:
    """Names standard output in the errors of a block that writes it; errors of inputs are no part of the block.

    After an error the rest of the output is discarded: Python flushes it once more at its exit.

    Raises:
        OutputError: standard output cannot be written.
        BrokenPipeError: its reader has closed it.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError("standard output", error) from error


class TextTable:
    """Lines of answers below a header; those of unsure answers begin with a question mark."""

    def __init__(self, style: Style, *, predicts_values: bool) -> None:
        self._style, self._width = style, 0
        self._heading = "value" if predicts_values else "answer  probability  (then the second)"

    def lines(self, results: Sequence[Result | RejectedInput]) -> str:
        """Returns the lines of a batch, the first one below the header; a refused input has none."""
        answers = [result for result in results if not isinstance(result, RejectedInput)]
        if not answers:
            return ""
        header = ""
        if not self._width:
            longest = max(len(escape_unprintable(answer.name)) for answer in answers)
            self._width = min(MAX_WIDTH, max(MIN_WIDTH, longest))
            header = f"  {'image':<{self._width}}  {self._heading}\n"
        return header + "".join(self._line(answer) for answer in answers)

    def _line(self, answer: Result) -> str:
        style, name = self._style, escape_unprintable(answer.name)
        is_unsure = bool(answer.unsure) and not style.anyway
        text = answer.text if isinstance(answer, Value) else self._classes(answer, is_unsure=is_unsure)
        mark = f"  [stand-in for {style.marks[STAND_IN]}]" if STAND_IN in style.marks else ""
        return f"{'?' if is_unsure else ' '} {name:<{self._width}}  {text}{mark}\n"

    def _classes(self, answer: Prediction, *, is_unsure: bool) -> str:
        label, runner_up = map(escape_unprintable, (answer.label, answer.runner_up))
        second = f"(then {runner_up}  {answer.runner_up_probability:.4f})"
        text = f"{label}  {answer.probability:.4f}  {second}"
        if is_unsure:
            text = f"unsure: {answer.reason}  (perhaps {label}  {answer.probability:.4f}, {second[1:]}"
        pairs = zip(self._style.classes, answer.probabilities, strict=False)
        every = ", ".join(f"{escape_unprintable(word)}: {probability:.4f}" for word, probability in pairs)
        return f"{text}  [{every}]" if every else text


class Counts:
    """Counts the answers and refusals of one call, and prints the refusals on standard error.

    For people, those with the same reason are one line at the end; for programs, each has a line at once.
    """

    def __init__(self, *, for_people: bool) -> None:
        self._for_people = for_people
        self.read = self.unsure = self.refused = 0
        self._by_reason: dict[str, tuple[int, list[str]]] = {}

    def add(self, results: Sequence[Result | RejectedInput]) -> None:
        """Counts a batch."""
        for result in results:
            if isinstance(result, RejectedInput):
                self.refused += 1
                self._refuse(result)
            else:
                self.read += 1
                self.unsure += result.unsure is True

    def print_refusals(self) -> None:
        """Prints the refusals that are left: each name with its reason, or a reason with the names that share it."""
        for reason, (count, names) in self._by_reason.items():
            if count < MIN_GROUP:
                for name in names:
                    _print_error(f"{name}: {reason}")
                continue
            more = f" and {count - len(names)} more" if count > len(names) else ""
            _print_error(f"{count} refused: {reason}: {', '.join(names)}{more}")
        self._by_reason.clear()

    @property
    def summary(self) -> str:
        """`19 read, 4 unsure, 13 refused`, where refused ones are not among those read; empty for a single answer.

        Programs get it only where an input was refused, as before.
        """
        if not self._for_people:
            total = self.read + self.refused
            return f"{self.refused} of {total} inputs could not be classified" if self.refused else ""
        if self.read + self.refused == 1:
            return ""
        parts = [(self.read, "read"), (self.unsure, "unsure"), (self.refused, "refused")]
        return ", ".join(f"{count} {word}" for count, word in parts if count or word == "read")

    def _refuse(self, refusal: RejectedInput) -> None:
        is_full = refusal.reason not in self._by_reason and len(self._by_reason) >= MAX_REASONS
        if is_full or not self._for_people:
            _print_error(f"{refusal.name}: {refusal.reason}")
            return
        count, names = self._by_reason.get(refusal.reason, (0, []))
        self._by_reason[refusal.reason] = count + 1, (names if count >= MAX_NAMED else [*names, refusal.name])


def _print_error(text: str) -> None:
    with to_standard_output():
        sys.stdout.flush()
    tell(mask_urls(escape_unprintable(f"error: {text}")))
