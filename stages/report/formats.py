"""Numbers as a person would say them."""

from collections.abc import Sequence

from stages.report.statistics.intervals import Interval


def percent(share: float) -> str:
    """0.98765 as 98.77%; rounding never claims 100% for less."""
    text = f"{share:.2%}"
    return "99.99%" if text == "100.00%" and share < 1 else text


def count(quantity: int) -> str:
    """10000 as 10,000."""
    return f"{quantity:,}"


def plural(quantity: int, thing: str) -> str:
    """1 error, 2 errors."""
    return f"{count(quantity)} {thing}{'' if quantity == 1 else 's'}"


def points(gap: float) -> str:
    """Percentage points with a sign, a true minus where negative."""
    text = f"{gap:+.2f}".replace("-", "−")  # noqa: RUF001 - the typographic minus is meant
    return text[1:] if text[1:] == "0.00" else text


def chance(p: float) -> str:
    """A p-value, on one line, with no more digits than matter."""
    if p < 0.001:
        return "p\u00a0<\u00a00.001"
    return f"p\u00a0=\u00a0{p:.3f}" if p < 0.1 else f"p\u00a0=\u00a0{p:.2f}"  # 0.049 and 0.051 differ


def listed(words: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def span(interval: Interval) -> str:
    """An interval of shares in percentage points."""
    return f"{points(100 * interval.low)} to {points(100 * interval.high)}"


def times(often: int) -> str:
    """How often."""
    return {1: "once", 2: "twice"}.get(often, f"{count(often)} times")


def megabytes(size: int) -> str:
    """Bytes as a person says them."""
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def number(value: float) -> str:
    """A value in four significant digits, a true minus where negative."""
    return f"{value:.4g}".replace("-", "−")  # noqa: RUF001 - the typographic minus is meant
