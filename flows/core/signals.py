"""Signals and standard streams of commands that a person or a service may start and interrupt."""

import getpass
import math
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from stages.base.streams import escape_unencodable

T = TypeVar("T")
TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTICE_S = 1.0  # Python handles a signal that came just before a wait began when the wait has ended: none is longer
REPEAT_S = 10.0  # people press Ctrl-C twice, and service managers send SIGTERM and SIGHUP


def raise_keyboard_interrupt() -> None:
    """Makes the termination signals raise KeyboardInterrupt in the main thread, so that all have the effect of Ctrl-C.

    SIGHUP stays ignored if it is, as under `nohup`. Signals within REPEAT_S of one that has raised are ignored, since
    they would end the clean-up.
    """
    raised_at = -math.inf

    def handle(*_: object) -> None:
        nonlocal raised_at
        if time.monotonic() > raised_at + REPEAT_S:
            raised_at = time.monotonic()
            raise KeyboardInterrupt

    handle_termination(handle)


def handle_termination(handle: Callable[..., object]) -> None:
    """Calls `handle` at each termination signal, but for SIGHUP if that is ignored, as under `nohup`."""
    for number in TERMINATION_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def ignore_termination() -> None:
    """Ignores further termination signals, while the process cleans up; its new children do not inherit that."""
    for number in TERMINATION_SIGNALS:
        signal.signal(number, lambda *_: None)


def repair_inherited_state() -> None:
    """Corrects what a parent process, such as a service manager, may leave unusable.

    Opens closed standard streams, since the next file would get their number; and stops ignoring SIGCHLD, since the
    exit codes of children would be lost. Characters that the encoding of an output lacks are escaped. DVC and Prefect
    need a home and a name of the account, which containers may lack: its home is then a folder in the temporary one,
    its name its number.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", closefd=False))
    escape_unencodable()
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _temporary_home()
    try:
        getpass.getuser()
    except (KeyError, OSError):  # Python 3.13 raises the other one
        os.environ["LOGNAME"] = str(os.getuid())


def _temporary_home() -> str:
    """Returns a folder that belongs to this user; the same one in each process, unless another user has taken it."""
    folder = Path(tempfile.gettempdir(), f"inkflow-home-{os.getuid()}")
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():
            return str(folder)
    return tempfile.mkdtemp(prefix=f"{folder.name}-")


def call_in_thread(action: Callable[[], object]) -> None:
    """Calls `action` in a thread and waits for it: an interrupt is raised here at once, and not within `action`.

    For imports of large packages: they may swallow an exception, and hold locks that other threads need to end.
    """
    errors: list[BaseException] = []

    def body() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="import", daemon=True)
    thread.start()
    join(thread)
    if errors:
        raise errors[0]


def join(thread: threading.Thread, timeout_s: float | None = None) -> None:
    """Waits for the end of a thread, for ever without a time limit; no signal is lost.

    Returns at once where the thread could not be started, as with too little memory.
    """
    if thread.ident is None:
        return
    if timeout_s is not None:
        thread.join(timeout_s)
    while timeout_s is None and thread.is_alive():
        thread.join(NOTICE_S)


def next_item(items: "queue.Queue[T]") -> T:
    """Returns the next item of a queue, and waits for it; no signal is lost."""
    while True:
        with suppress(queue.Empty):
            return items.get(timeout=NOTICE_S)


def exit_now(code: int) -> NoReturn:
    """Ends the process with `code`; waits for no daemon thread, such as Prefect's, which may wait for a dead server."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
