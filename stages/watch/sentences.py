"""Says what a comparison shows, for tables and alarms."""

from collections.abc import Sequence

from stages.base.shown_text import one_line
from stages.watch.comparisons import CLASSES, TITLES, UNSURE
from stages.watch.record import MEASURED_IMAGES, ComparisonRecord


def title(name: str) -> str:
    """Returns the name of a statistic as people read it."""
    return TITLES.get(name, one_line(name))


def values(item: ComparisonRecord) -> tuple[str, str]:
    """Returns the reference and what was seen lately: medians of a number, the share of unsure answers, or of a class.

    The class is the one whose share differs most.
    """
    if item.name == CLASSES:
        known, seen = _shares(item.reference), _shares(item.recent)
        number = max(range(len(known)), key=lambda index: abs(seen[index] - known[index]))
        return _share_of(item, number)
    if item.name == UNSURE:
        return f"{_shares(item.reference)[1]:.1%}", f"{_shares(item.recent)[1]:.1%}"
    return median(item.edges, item.reference), median(item.edges, item.recent)


def change(item: ComparisonRecord, test: int, seen: float) -> str:
    """Returns the sentence about the alarm that a test raised; `seen` is the mean score since the change began."""
    label = one_line(item.tests[test].label)
    if item.name == CLASSES:
        number, is_less = divmod(test, 2)
        share, known = 1 - seen if is_less else seen, _shares(item.reference)[number]
        return f"class {label}: {share:.1%} of the answers, {_accepted(item, test) or f'expected {known:.1%}'}"
    if item.name == UNSURE:
        known = _shares(item.reference)[1]
        return f"more unsure answers: {seen:.1%}, {_accepted(item, test) or f'expected {known:.1%}'}"
    if test > 1:
        return f"{title(item.name)}: values are more at both ends of what the validation images had"
    rank = seen if test == 0 else 1 - seen
    expected = _accepted(item, test) or "expected 50%"
    return f"{title(item.name)} is {label}: on average above {rank:.0%} of the validation images, {expected}"


def acknowledged(item: ComparisonRecord) -> list[str]:
    """Returns a sentence for each test whose change a person has acknowledged; one for tests that are one matter."""
    measured = {test.measuring.images if test.measuring else None for test in item.tests}
    if len(measured) == 1 and None not in measured:
        return [f"{title(item.name)}: {measured.pop()} of {MEASURED_IMAGES} images are measured, then it is tested"]
    bounds = [test.accepted for test in item.tests if not test.measuring]
    if item.name == CLASSES and len(bounds) == 2 * len(item.bins) and None not in bounds:
        return [f"{title(item.name)}: acknowledged is {_class_shares(item)}"]
    found = []
    for number, test in enumerate(item.tests):
        name = f"{title(item.name)}, {one_line(test.label)}"
        if test.measuring:
            found.append(f"{name}: {test.measuring.images} of {MEASURED_IMAGES} images are measured, then it is tested")
        elif test.accepted is not None:
            found.append(f"{name}: {_accepted(item, number)}")
    return found


def _class_shares(item: ComparisonRecord) -> str:
    """Returns the acknowledged shares of all classes."""
    bounds = [test.accepted or 0.0 for test in item.tests]
    parts = zip(item.bins, bounds[::2], bounds[1::2], strict=True)
    return ", ".join(f"{one_line(name)} {1 - less:.1%} to {more:.1%}" for name, more, less in parts)


def _accepted(item: ComparisonRecord, test: int) -> str:
    """Returns what is expected since an acknowledgement; nothing if there was none."""
    if (bound := item.tests[test].accepted) is None:
        return ""
    if item.name not in (CLASSES, UNSURE) and test > 1:
        return "expected as far at the ends as was acknowledged"
    is_less = test % 2 == 1  # of classes and numbers, every second test
    return f"acknowledged is {'at least' if is_less else 'at most'} {1 - bound if is_less else bound:.1%}"


def median(edges: Sequence[float], counts: Sequence[float]) -> str:
    """Returns the median of binned values; beyond the outer edges it is only known to be there."""
    if not edges:  # one bin has all values
        return "unknown"
    half, number, below = sum(counts) / 2, 0, 0.0
    while number < len(edges) and below + counts[number] < half:
        below += counts[number]
        number += 1
    if number == 0:
        return f"below {edges[0]:.4g}"
    if number == len(edges):
        return f"{edges[-1]:.4g} or more"
    low, high = edges[number - 1], edges[number]
    return f"{low + (high - low) * (half - below) / max(counts[number], 1e-9):.4g}"


def _share_of(item: ComparisonRecord, number: int) -> tuple[str, str]:
    name = one_line(item.bins[number])
    return f"{name}: {_shares(item.reference)[number]:.1%}", f"{name}: {_shares(item.recent)[number]:.1%}"


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]
