"""The parts of a status: sections with lines for people and facts for programs, and what needs a person."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.core.redaction import mask, masked_markdown
from flows.engine.display.styles import rough_duration

WIDTH = 80
TITLE_WIDTH = 10
MAX_LINES = 24
MAX_MORE = 4  # further lines of one section
MAX_NEEDS = 5  # that are shown; JSON has all
EXIT_NEEDS_PERSON = 3
MAX_AGE = timedelta(hours=36)  # of the last good nightly: one night may be missed
SCHEMA = 1  # of the JSON; a key that changes its meaning raises it


@dataclass(frozen=True)
class Need:
    """Something that needs a person: what it is, and what to do."""

    what: str
    do: str


@dataclass(frozen=True)
class Section:
    """One subject of the status.

    Attributes:
        key: its key in the JSON; also its title.
        lines: for people, the most important first.
        facts: for programs.
        needs: what needs a person.
    """

    key: str
    lines: tuple[str, ...]
    facts: Any
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class Status:
    """The sections of a status at one time."""

    at: datetime
    sections: tuple[Section, ...]
    needs: tuple[Need, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", tuple(need for section in self.sections for need in section.needs))

    def as_json(self) -> dict[str, Any]:
        """Returns the status as `inkflow status --json` prints it."""
        needs = [{"what": need.what, "do": need.do} for need in self.needs]
        head = {"schema": SCHEMA, "at": self.at.isoformat(timespec="seconds"), "needs": needs}
        return head | {section.key: section.facts for section in self.sections}

    def as_lines(self) -> list[str]:
        """Returns at most MAX_LINES lines of at most WIDTH characters."""
        head = self._need_lines()
        rooms = MAX_LINES - len(head)
        sections = [section for section in self.sections if section.lines]
        spare = max(0, rooms - len(sections))
        lines = []
        for section in sections:
            shown = section.lines[: 1 + min(spare, MAX_MORE)]
            spare -= len(shown) - 1
            titles = [section.key, *[""] * (len(shown) - 1)]
            lines += [f"{title:<{TITLE_WIDTH}}{line}" for title, line in zip(titles, shown, strict=True)]
        return [cut(line, WIDTH) for line in [*head, *lines]]

    def _need_lines(self) -> list[str]:
        if not self.needs:
            return ["nothing needs a person"]
        shown = self.needs[:MAX_NEEDS]
        lines = [line for need in shown for line in (f"! {need.what}", f"  -> {need.do}")]
        hidden = len(self.needs) - len(shown)
        return [*lines, *([f"  and {hidden} more: `inkflow status --json`"] if hidden else [])]

    def as_markdown(self) -> str:
        """Returns the status for Prefect's page."""
        count = (
            f"{len(self.needs)} need{'s' * (len(self.needs) == 1)} a person" if self.needs else "Nothing needs a person"
        )
        needs = [f"- **{masked_markdown(need.what)}**: {masked_markdown(need.do)}" for need in self.needs]
        rows = [
            f"- **{section.key}**: "
            + "".join(map(_linked if section.key == "server" else masked_markdown, section.lines[:1]))
            + "".join(f"\n  - {masked_markdown(line)}" for line in section.lines[1:])
            for section in self.sections
            if section.lines
        ]  # fmt: skip
        head = f"**{count}**, as of {self.at.strftime('%Y-%m-%d %H:%M')} UTC; the next run renews it."
        return "\n\n".join([head, *(["\n".join(needs), "---"] if needs else []), "\n".join(rows)])


def _linked(text: str) -> str:
    """Returns the address of the server as a link, and any other text as such."""
    address = mask(text)
    return f"<{address}>" if re.fullmatch(r"https?://[^\s<>]+", address) else masked_markdown(text)


def cut(text: str, width: int) -> str:
    """Returns the text, masked, in one line of at most `width` characters: a part of a secret would not be found."""
    text = mask(text).replace("\n", " ")
    return text if len(text) <= width else f"{text[: width - 1]}…"


def parse_time(value: Any) -> datetime | None:
    """Returns the time that an ISO text names; None for anything else."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def age(time: datetime | None, now: datetime) -> str:
    """Returns how long ago a time was, as `3 h ago`; for one to come, `in 3 h`."""
    if time is None:
        return "at an unknown time"
    seconds = (now - time).total_seconds()
    text = rough_duration(abs(seconds))
    return f"{text} ago" if seconds >= 0 else f"in {text}"
