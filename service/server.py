"""uvicorn with bounds: on the head of a request, the time it takes, and the number of connections."""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import Container
from contextlib import suppress
from typing import Any, ClassVar, TextIO, cast

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from conf.settings import Settings
from service.limits import most_connections, network_of

HEAD_MAX_BYTES = 32 * 1024
"""Request line, headers and trailers; uvicorn with httptools has no bound of its own."""
HEAD_SECONDS = 10.0
"""From the first byte of a request, or the opening of a connection, to the end of its headers."""
IDLE_SECONDS = 15
STALLED_SECONDS = 60
"""After that long without an acknowledgement the system gives a reader up, and we one that leaves no room for more."""
STOP_SECONDS = 12
"""What requests have to end in when the server stops: longer than a fact may wait for its acknowledgement."""


class CannotStartError(RuntimeError):
    """What a service needs is not to be had; the message says what a person must do."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections that are too many, heads that are too large or too slow, and readers that do not read.

    And those with a third request before the first is answered. One may wait, since a client may have all of an answer
    before we know; uvicorn would queue any number, and tell only the newest when the connection is lost.
    """

    max_connections: ClassVar[int]
    per_address: ClassVar[Counter[str]]
    proxies: ClassVar[Container[str]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = network_of(self.client)
        self.per_address[self._address] += 1
        self._beside_body = self._of_body = 0
        self._before: RequestResponseCycle | None = None  # the request before the newest one
        self._head_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections or self._has_its_share():
            transport.abort()
        else:
            self._expect_head()

    def _has_its_share(self) -> bool:
        """One address has at most half, so that it cannot keep all others out; a proxy of ours is many of them."""
        is_proxy = self.client is not None and self.client[0] in self.proxies
        return not is_proxy and self.per_address[self._address] > self.max_connections // 2

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_timer = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._reads_on()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._reads_on()
        self.per_address[self._address] -= 1
        if not self.per_address[self._address]:
            del self.per_address[self._address]
        if self._before is not None and not self._before.response_complete:
            self._before.disconnected = True
            self._before.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > HEAD_MAX_BYTES + self._of_body:
            self._refuse_head()

    def on_message_begin(self) -> None:
        self._beside_body = self._of_body = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_came()
        if self.pipeline:
            self.transport.abort()
            raise ValueError("more requests than one before an answer")
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_MAX_BYTES:
            raise ValueError("the head is too large")  # comes back as send_400_response
        self._before = self.cycle
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        self._of_body += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self.send_400_response("The head of the request is too large.")

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _reads_on(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None


def server_config(app: FastAPI, **changed: Any) -> uvicorn.Config:
    """How the app is served, wherever it listens."""
    settings: Settings = app.state.settings
    proxies = ProxyHeadersMiddleware(app, settings.trusted_proxies).trusted_hosts  # type: ignore[arg-type]
    bounds = {"max_connections": most_connections(settings), "per_address": Counter(), "proxies": proxies}
    options: dict[str, Any] = {
        "http": type("Protocol", (BoundedProtocol,), bounds),
        "ws": "none",
        # uvloop takes one new connection a turn: when all are busy, a turn is long, and who comes then waits for ever.
        "loop": "asyncio",
        "log_level": "error",  # a warning for each broken request would let anybody fill the disk
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": STOP_SECONDS,
        "proxy_headers": bool(settings.trusted_proxies),  # else anybody could claim any address
        "forwarded_allow_ips": settings.trusted_proxies,
    }
    return uvicorn.Config(_told_briefly(app), **{**options, **changed})


class _Log:
    """Standard output; a line that it does not take, as with a full disk, is lost, and ends no thread that says it."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()


def lose_lines() -> None:
    """From now on a log line that cannot be written is no failure of this process."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Log())))


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until told to stop; SystemExit with the reason where the app cannot start."""
    lose_lines()
    try:
        uvicorn.Server(server_config(app)).run(sockets=[listener])
    except SystemExit as failure:
        raise SystemExit(getattr(app.state, "cannot_start", failure.code)) from None


def _told_briefly(app: FastAPI) -> ASGIApp:
    """The app, but a `CannotStartError` is told by its sentence instead of a traceback."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        async def brief(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and hasattr(app.state, "cannot_start"):
                message["message"] = ""
            await send(message)

        await app(scope, receive, brief if scope["type"] == "lifespan" else send)

    return told


def listen(host: str, port: int) -> socket.socket:
    """A socket for the server; SystemExit with one sentence where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio sends at once (TCP_NODELAY); else each answer would wait for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1_000)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise SystemExit(
            f"cannot listen on {host}:{port} ({error.strerror}): set MSM_HTTP_PORT to a free port, "
            "and MSM_HTTP_HOST to an address of this machine"
        ) from None
    return listener
