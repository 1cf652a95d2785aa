"""Ways in which a file is damaged, each chosen at random by a seed, and sentences about what a command then did."""

import io
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from flows.engine.planning.plan import Verdict
from tests.torture.support.forked import Outcome

Damage = Callable[[bytes, random.Random], bytes]
NPY_HEADER = 128  # bytes; the first array of an npy file begins there
VOLATILE = re.compile(
    r"in [\d.]+ s\b|here for [^\n]*|[\d.]+ [kKMG]?B left\b|[\d.]+ [kMG]B (?:free )?of [^\n]*|\d+ (?:s|min)(?: ago)?\b"
)
SHORTEST_CUT = 40  # characters of a name that a table has cut
SENTENCES = ("error: ", "warning: ", "note: ")
NEEDS_A_PERSON = 3  # exit code of `inkflow status`, which names what is damaged in its table or in a note


def flipped(content: bytes, chance: random.Random, start: int = 0, end: int | None = None) -> bytes:
    """Flips one bit between two places."""
    place = chance.randrange(start, min(end or len(content), len(content)))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def flipped_in_front(content: bytes, chance: random.Random) -> bytes:
    """Flips a bit of the header of an npy file, or of what stands first in any other one."""
    return flipped(content, chance, 0, NPY_HEADER)


def flipped_in_member(content: bytes, chance: random.Random) -> bytes:
    """Flips a bit in the packed bytes of a member of a zip file; anywhere in another file."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return flipped(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [entry for entry in archive.infolist() if entry.compress_size]
    if not members:
        return flipped(content, chance)
    member = chance.choice(members)
    start = member.header_offset + 30 + len(member.filename)
    return flipped(content, chance, start, start + member.compress_size)


def truncated(content: bytes, chance: random.Random) -> bytes:
    """Keeps a first part."""
    return content[: chance.randrange(1, max(2, len(content)))]


def emptied(content: bytes, chance: random.Random) -> bytes:
    """Keeps nothing."""
    return b""


DAMAGES: dict[str, Damage] = {
    "a bit flipped": flipped,
    "a bit flipped in front": flipped_in_front,
    "a bit flipped in a member": flipped_in_member,
    "cut short": truncated,
    "emptied": emptied,
}


def write_damage(path: Path, content: bytes) -> None:
    """Replaces the content of a file in place; its mode stays, as DVC's cache is read-only."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def comparable(text: str) -> str:
    """Returns the output of a command without durations, ages, and sizes of disks and caches."""
    return VOLATILE.sub("~", text)


def problem(outcome: Outcome, undamaged: Outcome, names: tuple[str, ...], *, may_differ: bool = False) -> str | None:
    """Returns what is wrong with the outcome of a command on damaged files; None if it noticed or did not need them.

    Args:
        outcome: of the command.
        undamaged: of the same command before.
        names: of the file; one of them has to be in a message that the command does not write without the damage.
        may_differ: whether another output is no wrong result, since the command shows that the file differs.
    """
    said = " ".join((outcome.out + outcome.err).split())[-600:]
    if outcome.code is None:
        return f"it hangs: {said}"
    if "Traceback" in outcome.out + outcome.err:
        return f"a traceback: {said}"
    told = new_lines(outcome.err, undamaged.err)
    if outcome.code == NEEDS_A_PERSON:
        told += new_lines(outcome.out, undamaged.out)
    is_named = any(_has(line, name) for line in told for name in names)
    if outcome.code == undamaged.code:
        if may_differ or is_named:
            return None
        if comparable(outcome.out) != comparable(undamaged.out):
            return f"another result: {said}"
        lost = [line for line in new_lines(undamaged.err, outcome.err) if line.startswith(SENTENCES)]
        return f"it no longer says: {lost[0]}" if lost else None
    if outcome.code == 0:
        return None if is_named or may_differ else f"a failure became a success: {said}"
    errors = told if outcome.code == NEEDS_A_PERSON else [line for line in told if line.startswith(SENTENCES[:2])]
    if not errors:
        return f"exit code {outcome.code} without a sentence: {said}"
    return None if any(_has(line, name) for line in errors for name in names) else f"the file is not named: {said}"


def plan_problem(outcome: Outcome, undamaged: Outcome, names: tuple[str, ...], stage: str) -> str | None:
    """Returns what is wrong with a plan without errors where an output of `stage` is damaged; None if it tells that.

    It does in the row of the stage, with another verdict than that nothing has changed, or in a line with the file.
    """
    told = new_lines(outcome.out, undamaged.out) + new_lines(outcome.err, undamaged.err)
    rows = [words for words in map(str.split, told) if words[:1] == [stage]]
    if any(words[1:2] != [Verdict.UNCHANGED] for words in rows) or any(
        _has(line, name) for line in told for name in names
    ):
        return None
    return f"the plan tells nothing of {stage}: {' '.join(outcome.out.split())[-600:]}"


def _has(line: str, name: str) -> bool:
    """Returns whether a line has a name, or so much of it that it is known, where a table has cut it."""
    return name in line or any(f"{name[:length]}…" in line for length in range(SHORTEST_CUT, len(name)))


def new_lines(text: str, undamaged: str) -> list[str]:
    """Returns the lines of `text` that the text of the undamaged command lacks."""
    known = set(comparable(undamaged).splitlines())
    return [line for line in text.splitlines() if comparable(line) not in known]
