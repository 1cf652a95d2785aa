"""Names and values of strangers stay text: every door into every sink, from one list."""

import random
from pathlib import Path

import pytest

from stages.base.errors import InvalidInput
from tests.torture.conftest import Rounds, Try
from tests.torture.support.hostile import CANARY, CHECKS, HARMLESS, PAYLOADS
from tests.torture.support.sinks import SINKS, Sink

SUBJECT = "Injection and secrets"
SEED = 17


@pytest.mark.slow
def test_every_door_into_every_sink(
    promise: Try, rounds: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text at any door becomes markup, a control sequence, a line, a path or a command in any sink."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    canary = Path(f"/{CANARY}")
    assert not canary.exists(), f"{canary} is there before the test, which needs that it is not: remove it"
    dice = random.Random(SEED)
    how = (
        f"{len(PAYLOADS)} texts with HTML, Markdown, shell, YAML, terminal and path characters at each door of "
        f"{len(SINKS)} sinks"
    )
    sentence = "Names from strangers stay text in every place that tests/torture/support/sinks.py lists."
    with promise(SUBJECT, sentence, how) as tried:
        for sink in SINKS if rounds(0, 1) else [sink for sink in SINKS if sink.few]:
            written = []
            harmless = sink.write(dict.fromkeys(sink.doors, HARMLESS))
            for door in sink.doors:
                for name in dice.sample(sorted(PAYLOADS), rounds(sink.few, len(PAYLOADS))):
                    with tried.attempt(f"{sink.name}, {door}, {name}, seed {SEED}"):
                        written.append(check(sink, door, PAYLOADS[name], harmless))
            with tried.verdict(f"{sink.name} takes most texts"):
                assert sum(written) * 2 > len(written), f"{sum(written)} of {len(written)} were written"
        with tried.verdict("files that only a followed path or command makes"):
            assert not list(tmp_path.rglob(CANARY)) and not canary.exists()


def check(sink: Sink, door: str, payload: str, harmless: str) -> bool:
    """Writes `payload` at one door of a sink, harmless texts at the others, and judges it.

    A refusal is right too: it returns False.
    """
    texts = {each: payload if each == door else HARMLESS for each in sink.doors}
    try:
        output = sink.write(texts)
    except InvalidInput:
        return False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    try:
        CHECKS[sink.kind](output, harmless, payload)
    except ValueError as error:  # of a parser
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    return True
