"""The posts that wait for one receiver."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flows.core.redaction import say_if_possible
from flows.prefect_server.notifications.receivers import NotDeliveredError, Post, Receiver

FIRST_PAUSE_S = 5.0  # after a failed attempt; it doubles with each further one, up to the receiver's longest
GIVE_UP = timedelta(days=1)  # after which a post that no attempt delivered is dropped
Entry = tuple[str, Post]  # since when the post waits, in ISO format


class Outbox:
    """Delivers posts to one receiver in order; a receiver that is away delays no other one."""

    def __init__(self, receiver: Receiver, waiting: list[Entry]) -> None:
        """Takes over `waiting`, the part of the record of posts that is this receiver's."""
        self._receiver, self._waiting = receiver, waiting
        self._attempts, self._next_at = 0, 0.0
        self._is_noted = False

    def deliver(self, save: Callable[[], None]) -> None:
        """Delivers what waits until the receiver does not accept a post; `save` is called after each one."""
        while self._waiting and time.monotonic() >= self._next_at:
            since, post = self._waiting[0]
            try:
                self._note(self._receiver.send(post))
            except NotDeliveredError as error:
                self._attempts += 1
                pause_s = min(FIRST_PAUSE_S * 2 ** min(self._attempts - 1, 10), self._receiver.max_pause_s)
                self._next_at = time.monotonic() + pause_s
                if datetime.now(UTC) - datetime.fromisoformat(since) < GIVE_UP:
                    self._note(f"{error}; it is tried again")
                    return
                self._is_noted = False
                self._note(f"{error}; given up after a day: {post['text']}")
            self._attempts, self._next_at = 0, 0.0
            del self._waiting[0]
            save()

    def _note(self, problem: str) -> None:
        """Prints a problem of the receiver once, until it accepts a post again."""
        if problem and not self._is_noted:
            say_if_possible(f"{self._receiver.label} cannot be called: {problem}")
        self._is_noted = bool(problem)
