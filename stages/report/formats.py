"""Numbers and lists as text."""

import math
from collections.abc import Callable, Iterable, Sequence

NOT_KNOWN = "not known"
P_LIMIT = 0.05  # SIGNIFICANT of the tests, which also import this module


def percent(share: float) -> str:
    """Formats 0.98765 as 98.77%; a share below 1 is never rounded to 100%."""
    text = f"{share:.2%}"
    return "99.99%" if text == "100.00%" and share < 1 else text


def count(quantity: float) -> str:
    """Formats 10000 as 10,000."""
    return f"{quantity:,}"


def plural(quantity: int, noun: str) -> str:
    """Formats 1 error, 2 errors."""
    return f"{count(quantity)} {noun}{'' if quantity == 1 else 's'}"


def points(gap: float) -> str:
    """Formats percentage points with a sign, with a minus sign instead of a hyphen where negative.

    Two decimals, or as many as a gap needs that is not 0: an interval that excludes 0 has to look so.
    """
    texts = (f"{gap:+.{digits}f}" for digits in range(2, 7))
    text = next((text for text in texts if float(text)), "0.00")
    return _with_minus(text)


def share_points(share: float) -> str:
    """Formats a difference of two shares in percentage points."""
    return points(100 * share)


def four_decimals(value: float) -> str:
    """Formats a value with four decimals, with a minus sign instead of a hyphen where negative."""
    return _with_minus(f"{value:.4f}")


def p_value(p: float) -> str:
    """Formats a p-value without a line break: with 3 digits, or as many as needed to stay below, at or above 0.05."""
    if p < 0.001:
        return "p\u00a0<\u00a00.001"
    digits = range(3, 19) if p < 0.1 else (2,)
    return f"p\u00a0=\u00a0{on_its_side((f'{p:.{count}f}' for count in digits), p, P_LIMIT)}"


def on_its_side(texts: Iterable[str], figure: float, limit: float) -> str:
    """Returns the first of the `texts` of a figure that is below, at or above `limit` as the figure is."""
    side = (figure < limit, figure > limit)
    return next(text for text in texts if (float(text) < limit, float(text) > limit) == side)


def enumerate_words(words: Sequence[str], conjunction: str = "and") -> str:
    """Formats a list as a, b and c."""
    return f" {conjunction} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def times(number_of_times: int) -> str:
    """Formats a frequency as once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(number_of_times, f"{count(number_of_times)} times")


def known_number(value: float) -> str:
    """Formats a value as `number` does; NaN is not known."""
    return NOT_KNOWN if math.isnan(value) else number(value)


def ends_text(ends: Sequence[float], form: Callable[[float], str]) -> str:
    """Formats the lower and the upper end of an interval by `form`; one with NaN is not known."""
    return NOT_KNOWN if any(map(math.isnan, ends)) else " to ".join(map(form, ends))


def file_size(size: int) -> str:
    """Formats bytes as MB, or as kB below 100,000."""
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def number(value: float) -> str:
    """Formats a value with four significant digits, with a minus sign instead of a hyphen where negative."""
    return _with_minus(f"{value:.4g}")


def _with_minus(text: str) -> str:
    """Writes a minus sign for a hyphen; a zero has no sign."""
    return text.replace("-", "−" if float(text) else "")  # noqa: RUF001 - the typographic minus is meant
