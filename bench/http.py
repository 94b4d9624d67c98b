"""HTTP for measuring: one connection, parsed in C, no redirects and no cookies; what comes is timed at once."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httptools


@dataclass
class Answer:
    """An answer, and when its last byte was there (`time.monotonic()`)."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    at: float = 0.0


class Connection(asyncio.Protocol):
    """One request at a time; `on_body`, where given, gets the body as it comes, for streams that do not end."""

    def __init__(self, host: str, on_body: Callable[[bytes], None] | None = None) -> None:
        self._host, self._on_body = host, on_body
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._begun: asyncio.Future[int] | None = None
        self.lost = False

    @classmethod
    async def open(cls, host: str, port: int, on_body: Callable[[bytes], None] | None = None) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: cls(f"{host}:{port}", on_body), host, port
        )
        return connection

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """The whole answer; ConnectionError where the server closed."""
        self.send(method, path, headers, body)
        assert self._waiting is not None
        return await self._waiting

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Send a request without waiting."""
        if self._transport is None or self.lost:
            raise ConnectionError("the server has closed the connection")
        self._waiting = asyncio.get_running_loop().create_future()
        self._answer, self._parser = Answer(), httptools.HttpResponseParser(self)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def follow(self, path: str) -> int:
        """Ask for a stream; its status, as soon as that is there."""
        self.send("GET", path)
        self._begun = asyncio.get_running_loop().create_future()
        return await self._begun

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(0)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the server has closed the connection"))
            self._waiting.exception()  # a stream that nobody waits for may end, too

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(self._answer.status)

    def on_body(self, body: bytes) -> None:
        if self._on_body is not None and self._answer.status == 200:
            self._on_body(body)
        else:
            self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.at = time.monotonic()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)


class Events:
    """Cuts the body of a stream into its events, and hands on each with the moment at which its last bytes came."""

    def __init__(self, take: Callable[[bytes, float], None]) -> None:
        self._take, self._rest = take, b""

    def feed(self, body: bytes) -> None:
        """Bytes as they came, all of the same moment."""
        at = time.monotonic()
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            self._take(event, at)


def data_of(event: bytes) -> bytes:
    """The data of an event of one line; empty where it has none."""
    return next((line[6:] for line in event.split(b"\n") if line.startswith(b"data: ")), b"")
