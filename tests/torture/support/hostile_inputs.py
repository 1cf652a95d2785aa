"""Inputs that Hypothesis makes: bytes, texts of the words of a format, and valid inputs with damage."""

import time
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.torture.support.fuzzing import MAX_INPUT, Fuzzed

ROUND = 40  # examples between two looks at the clock
ODD = (b"\0", b"\xff" * 4, b"\xff" * 8, b"\x80" + bytes(3), b"9" * 30, b"-1", b"\n", b"\r", b"'", b'"', b"\xc3\x28")
Inputs = st.SearchStrategy[bytes]


def fuzz(fuzzed: Fuzzed, seconds: float, runs: int, seed: int) -> None:
    """Gives each target `runs` inputs, or inputs in turn until the time is over."""
    end, number, names = time.monotonic() + seconds, 0, list(fuzzed.targets)
    while number < len(names) or time.monotonic() < end:
        name = names[number % len(names)]
        examples = ROUND if seconds else runs
        checks = list(HealthCheck)
        # Not within pytest, whose settings would allow any time.
        check = settings(max_examples=examples, database=None, deadline=None, suppress_health_check=checks)
        test = given(inputs(fuzzed.seeds[name], fuzzed.targets[name].words))(_run(fuzzed, name))
        seeded(seed + number)(check(test))()
        number += 1


def _run(fuzzed: Fuzzed, name: str):  # type: ignore[no-untyped-def]  # a test function of Hypothesis
    def run(content: bytes) -> None:
        fuzzed.run(name, content)

    return run


def inputs(seeds: Sequence[bytes], words: Sequence[str]) -> Inputs:
    """Returns the inputs of a reader with these valid ones; `words` are parts of its texts."""
    kinds: list[Inputs] = [_damaged(seeds), _damaged(seeds), _damaged(seeds), st.binary(max_size=2_000)]
    if words:
        made = st.lists(st.sampled_from(words), max_size=30).map(lambda parts: "".join(parts).encode())
        text = st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
        kinds = [*kinds[:2], made, made, text]
    return st.one_of(kinds).map(lambda content: content[:MAX_INPUT])


@st.composite
def _damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A valid input with bytes changed, cut, doubled, moved or put in, up to six times."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content)))
        size = draw(st.integers(1, 16))
        match draw(st.integers(0, 5)):
            case 0:
                content[place : place + size] = draw(st.binary(min_size=1, max_size=8))
            case 1:
                del content[place : place + size]
            case 2:
                content[place:place] = content[place : place + size] * draw(st.sampled_from((1, 2, 300)))
            case 3:
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 4:
                content[place:place] = draw(st.sampled_from(ODD))
            case _:
                del content[place:]
    return bytes(content)
