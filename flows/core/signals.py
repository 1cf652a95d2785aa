"""Signal handling of commands that a person or a service may interrupt."""

import signal

TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def raise_keyboard_interrupt() -> None:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, so that both have the effect of Ctrl-C."""
    for number in TERMINATION_SIGNALS:
        signal.signal(number, signal.default_int_handler)
