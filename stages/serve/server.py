"""Runs the server with uvicorn: one process, one event loop."""

import asyncio
import math
import os
import re
import socket
from contextlib import suppress
from dataclasses import replace
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from stages.base.errors import InkflowError, InvalidInput
from stages.serve.answers import log
from stages.serve.app import create_app
from stages.serve.served_model import ModelSlot
from stages.serve.settings import LOOPBACK, TOKEN_VARIABLE, Settings

IDLE_TIMEOUT_S = 10.0  # without a complete request
MAX_CONNECTIONS = 1000  # further ones are refused with 503


class Protocol(H11Protocol):
    """HTTP with a clock for idle connections: uvicorn has none before the first request, and stops it on any byte."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock of a connection, and sends each answer at once: asyncio does so for some sockets only."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clock = self.loop.call_later(IDLE_TIMEOUT_S, self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        """Handles what arrived; the bytes of an incomplete request do not restart the clock."""
        super().data_received(data)
        if not self._is_idle():
            self._clock.cancel()
        elif self._clock.cancelled():
            self._clock = self.loop.call_later(IDLE_TIMEOUT_S, self._close_if_idle)

    def on_response_complete(self) -> None:
        """Starts the clock for the next request."""
        super().on_response_complete()
        self._clock.cancel()
        self._clock = self.loop.call_later(IDLE_TIMEOUT_S, self._close_if_idle)

    def pause_writing(self) -> None:
        """Gives a client that does not read its answer as long as an idle one."""
        super().pause_writing()
        self._reader_clock = self.loop.call_later(IDLE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops that clock."""
        super().resume_writing()
        self._reader_clock.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, such as a wrong chunk in a body: the request that it belongs to gets no answer."""
        if not self._is_idle():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with suppress(h11.LocalProtocolError):  # the answer to HEAD is its head alone
                super().send_400_response(msg)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._clock.cancel()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        cycle = getattr(self, "cycle", None)
        return cycle is None or cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle():
            self.transport.abort()


def serve(settings: Settings, *, anyway: bool = False) -> None:
    """Serves until a signal ends it; requests that run then are answered first.

    Raises:
        InvalidInput: the model or the address cannot be used.
        InkflowError: the port is taken.
    """
    settings = check_token(settings)
    slot = ModelSlot(settings.source, anyway=anyway)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    if slot.model.classifier.stand_in_for:
        log(f"warning: trained on a stand-in for {slot.model.classifier.stand_in_for}")
    name = f"[{host}]" if ":" in host else host
    print(f"serving {settings.model} {slot.model.version} on http://{name}:{port}", flush=True)
    options: dict[str, Any] = {"http": Protocol, "ws": "none", "log_level": "error", "access_log": False}
    config = uvicorn.Config(
        create_app(settings, slot),
        **options,
        lifespan="on",
        limit_concurrency=MAX_CONNECTIONS + 1,  # uvicorn refuses the requests on so many
        timeout_keep_alive=int(IDLE_TIMEOUT_S),
        timeout_graceful_shutdown=math.ceil(settings.timeout_s),
        server_header=False,
    )
    asyncio.run(uvicorn.Server(config).serve([listener]))


def check_token(settings: Settings) -> Settings:
    """Returns the settings with the token as clients send it: without white space around it, such as a newline.

    Raises:
        InvalidInput: a server that other machines can reach has no token, or a header cannot hold the token.
    """
    token = settings.token.strip()
    if settings.token and not re.fullmatch("[!-~]+", token):
        raise InvalidInput(
            f"the token in {TOKEN_VARIABLE} is blank, or has a space or a character that is not printable ASCII; "
            "expected one such as `openssl rand -hex 32` makes"
        )
    if settings.host not in LOOPBACK and not token:
        raise InvalidInput(
            f"--host {settings.host}: other machines could use the model; set a token in {TOKEN_VARIABLE}, or leave "
            "the option out to serve this machine alone"
        )
    return replace(settings, token=token)


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise InkflowError(
            f"port {settings.port} of {settings.host} cannot be used ({reason}); choose another with --port"
        ) from error
