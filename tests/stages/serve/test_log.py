"""The log of `inkflow serve` shows texts of others as text."""

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fastapi import Response

from stages.serve.answers import answered, log
from stages.serve.served_model import ModelSlot
from stages.serve.watching import ServerWatch
from tests.support.pictures import write_reader
from tests.support.unwritable import UNWRITABLE, unwritable_stderr


def test_a_message_is_one_line_without_controls(capsys: pytest.CaptureFixture[str]) -> None:
    """A text in a message makes no line and no control sequence, and shows no password."""
    log("the model \x1b[31mred\nerror: forged\u202e at https://me:hunter22@h/x")
    assert capsys.readouterr().err == "serve: the model red\\nerror: forged at https://me:***@h/x\n"


@UNWRITABLE
def test_a_fault_is_answered_without_a_log(make: Callable[[], int]) -> None:
    """A request on a full disk is answered with 503, although the log is on the same disk."""

    async def fail() -> Response:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with unwritable_stderr(make):
        assert asyncio.run(answered(fail)).status_code == 503


@UNWRITABLE
def test_a_stage_is_followed_without_a_log(make: Callable[[], int], tmp_path: Path) -> None:
    """The server changes models, and passes over those that it cannot open, although it can log none of it."""
    source = tmp_path / "source.json"
    names = ["one", "absent", "two"]
    for name in ("one", "two"):
        write_reader(tmp_path / name / "model.onnx", [f"{name} {digit}" for digit in range(10)])
    served = list[str]()

    def point(name: str) -> None:
        source.write_text(f'{{"folder": "{tmp_path / name}"}}')

    point("one")
    slot = ModelSlot(source)

    async def do_next(_: float) -> None:
        served.append(slot.model.classifier.class_names[0])
        if not names:
            raise asyncio.CancelledError
        point(names.pop(0))

    async def follow() -> None:
        with suppress(asyncio.CancelledError):
            await slot.follow(log, do_next)

    with unwritable_stderr(make):
        asyncio.run(follow())
    assert served == ["one 0", "one 0", "one 0", "two 0"]


@UNWRITABLE
def test_the_watch_goes_on_without_a_log(
    make: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch of a model without a reference, which it tells, looks again and again."""
    monkeypatch.setattr("stages.serve.watching.PAUSE_S", 0.0)
    write_reader(tmp_path / "model.onnx")
    slot, looks = ModelSlot(tmp_path), list[object]()
    watch = ServerWatch(log, looks.append)

    async def run() -> None:
        watch.see(slot.model, np.zeros((1, 28, 28), np.float32), [])
        task = asyncio.create_task(watch.run(slot))
        while len(looks) < 3 and not task.done():
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with unwritable_stderr(make):
        asyncio.run(run())
