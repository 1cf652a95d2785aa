"""Prints the record of a watched model as a table."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.base.shown_text import one_line
from stages.watch.record import Record
from stages.watch.sentences import acknowledged, title, values

SHOWN_DECISIONS = 3


def print_record(record: Record, console: Console | None = None) -> None:
    """Prints what is known of one model: its statistics, alarms, and the last decisions."""
    console = console or Console()
    version = f" {record.version}" if record.version else ""
    healthy = "no alarm" if not record.alarms else f"{len(record.alarms)} alarm{'s' * (len(record.alarms) > 1)}"
    name = one_line(f"{record.model}{version}")
    console.print(
        Text.assemble(
            (name, "bold"), f" ({record.model_sha256[:12]}): ", (healthy, "red" if record.alarms else "green")
        )
    )
    console.print(
        f"{record.images:,} images compared, {_day(record.first)} to {_day(record.last)}; chance that healthy images "
        f"ever raise an alarm: at most {record.rate:.0%}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("statistic", "reference", "seen lately", "evidence", "limit", "alarm since"):
        is_number = heading in ("evidence", "limit")
        table.add_column(
            heading, justify="right" if is_number else "left", no_wrap=is_number or heading == "alarm since"
        )
    since = {alarm.statistic: alarm.since for alarm in record.alarms}
    for item in record.comparisons:
        cells = (title(item.name), *map(one_line, values(item)), power(item.evidence), power(item.limit))
        style = "red" if item.name in since else ""
        table.add_row(*(Text(cell, style) for cell in (*cells, _day(since.get(item.name, "")))))
    console.print(table)
    for alarm in record.alarms:
        console.print(Text(f"alarm: {one_line(alarm.sentence)} (began about {_day(alarm.began)})", "red"))
    for sentence in (one for item in record.comparisons for one in acknowledged(item)):
        console.print(Text(f"acknowledged: {sentence}", "dim"))
    for decision in record.decisions[-SHOWN_DECISIONS:]:
        who = one_line(f"{decision.who}: {decision.reason}")
        console.print(Text(f"{decision.action} of {len(decision.alarms)} alarms, {_day(decision.when)}, {who}", "dim"))


def power(exponent: float) -> str:
    """Returns 10 to the `exponent` in a few characters."""
    if exponent > 6:
        return f"1e{exponent:.0f}"
    return f"{10**exponent:,.0f}" if exponent > 1 else f"{10**exponent:.2g}"


def _day(moment: str) -> str:
    return moment[:16].replace("T", " ")
