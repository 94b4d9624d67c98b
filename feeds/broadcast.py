"""Server-sent events to many clients: serialised once, bounded for each, and nobody is waited for."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated

import anyio
import structlog
from fastapi import HTTPException, Query
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from feeds.metrics import CLIENTS, DROPPED

log = structlog.get_logger()
CHUNK_BYTES = 64 * 1024
"""At most so many are sent at a time: of those that a client has yet to read it has a copy of its own."""
QUEUE_MAX = 64
"""Chunks that a client may be behind before it is dropped. They are the same bytes for all clients."""
PENDING_MAX, PENDING_MAX_BYTES = 1_000, 1024 * 1024
"""When more than this changed at once, clients are told to reload instead."""
PAUSE_SECONDS = 0.05
"""At most so often is something sent; what changed several times in between is sent once."""
RESET_PAUSE_SECONDS = 1.0
REST = 2.0
"""Pause at least so many times what sending took: many clients get fewer, fuller chunks."""
SLICE = 25
"""Clients that are sent to at a stretch."""
KEEPALIVE_SECONDS = 15.0
"""So often each stream says that it is live, whatever else it is sent."""
Live = Annotated[bool, Query(description="say so by an event `live`, which an EventSource shows, not by a comment")]


@dataclass(frozen=True)
class Event:
    """An event as bytes; of two with the same key the newer one replaces the older."""

    key: str
    seq: int
    wire: bytes


def event(name: str, data: str, seq: int = 0, id: str | None = None) -> Event:
    """An event whose data is JSON already; `name` and `data` are what the client sees."""
    return Event(name, seq, format_sse_event(event=name, data_str=data, id=id))


def chunks_of(wire: bytes) -> list[bytes]:
    """Cut anywhere: an event ends where it says so itself."""
    return [wire[at : at + CHUNK_BYTES] for at in range(0, len(wire), CHUNK_BYTES)]


@dataclass(eq=False)
class Client:
    """An open stream: what it has yet to be sent.

    `since` is the newest change it had when it opened; `hears_live`: that the stream is still there is an event to it,
    not a comment, which the EventSource of a page does not show.
    """

    hears_live: bool = False
    since: int = -1
    chunks: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


def live(client: Client, id: str | None = None) -> bytes:
    """Says that the stream is still there."""
    if client.hears_live:
        return event("live", "{}", id=id).wire
    return format_sse_event(comment="live", id=id)


class Broadcaster:
    """Collects events and hands them to every client, while `ready` says that they are worth showing."""

    def __init__(self, feed: str, reset: Callable[[], Event], ready: Callable[[], bool]) -> None:
        self._feed, self._reset, self._ready = feed, reset, ready
        self._clients: set[Client] = set()
        self._pending: dict[str, Event] = {}
        self._must_reset = False
        self._closed = False
        self._wake = asyncio.Event()
        self._live_at = time.monotonic() + KEEPALIVE_SECONDS

    def publish(self, events: Iterable[Event]) -> None:
        """Send these soon; on the event loop's thread."""
        for one in events:
            self._pending.pop(one.key, None)
            self._pending[one.key] = one
        size = sum(len(one.wire) for one in self._pending.values())
        if len(self._pending) > PENDING_MAX or size > PENDING_MAX_BYTES:
            return self.publish_reset()
        self._wake.set()

    def publish_reset(self) -> None:
        """Tell every client to reload, instead of whatever was to be sent."""
        self._pending.clear()
        self._must_reset = True
        self._wake.set()

    async def run(self) -> None:
        """Send what is published until cancelled; after a failure clients are told to reload."""
        while True:
            try:
                await asyncio.sleep(await self._turn())
            except Exception as error:
                log.warning("a stream could not be sent", feed=self._feed, reason=f"{type(error).__name__}: {error}")
                self.publish_reset()
                await asyncio.sleep(RESET_PAUSE_SECONDS)

    async def _turn(self) -> float:
        """Send once there is something to send, or it is time to say that it lives; how long to pause after it."""
        try:
            await asyncio.wait_for(self._until_ready(), self._live_at - time.monotonic())
        except asyncio.TimeoutError:
            self._live_at = time.monotonic() + KEEPALIVE_SECONDS
            await self._offer_all(lambda client: [live(client)])
            return 0.0
        return await self._flush()

    async def _until_ready(self) -> None:
        """Until there is something to send, and it is worth showing."""
        await self._wake.wait()
        while not self._ready():
            await asyncio.sleep(PAUSE_SECONDS)

    async def _flush(self) -> float:
        """Send what is pending; how long to pause after it."""
        self._wake.clear()
        if self._must_reset:
            self._must_reset = False
            self._pending.clear()  # what came after it was called for is in the view that clients reload
            for client in self._clients:
                client.since = -1  # the view may be another one, which counts its changes anew
            chunks = chunks_of(self._reset().wire)
            await self._offer_all(lambda _: chunks)
            return RESET_PAUSE_SECONDS
        events, self._pending = list(self._pending.values()), {}
        began = time.monotonic()
        chunks, oldest = _joined(events), min((one.seq for one in events), default=0)

        def unseen(client: Client) -> Sequence[bytes]:
            was_opened_with_some = oldest <= client.since
            return _joined(one for one in events if one.seq > client.since) if was_opened_with_some else chunks

        await self._offer_all(unseen)
        return max(PAUSE_SECONDS, REST * (time.monotonic() - began))

    async def _offer_all(self, chunks: Callable[[Client], Sequence[bytes]]) -> None:
        for number, client in enumerate(list(self._clients), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)  # lets these be sent, and requests be answered
            self._offer(client, chunks(client))

    def _offer(self, client: Client, chunks: Sequence[bytes | None]) -> None:
        """However many these are, to whoever is not behind."""
        if client.chunks.qsize() < QUEUE_MAX:
            for chunk in chunks:
                client.chunks.put_nowait(chunk)
            return
        self._clients.discard(client)
        DROPPED.labels(self._feed).inc()
        client.scope.cancel()

    @contextmanager
    def client(self, hears_live: bool = False) -> Iterator[Client]:
        """A client that is sent everything from now on."""
        client = Client(hears_live)
        self._clients.add(client)
        CLIENTS.labels(self._feed).inc()
        if self._closed:
            client.chunks.put_nowait(None)
        try:
            yield client
        finally:
            self._clients.discard(client)
            CLIENTS.labels(self._feed).dec()

    def close(self) -> None:
        """End every stream after what it has yet to be sent."""
        self._closed = True
        for client in list(self._clients):
            self._offer(client, [None])


class EventStream(Response):
    """The answer to a client of a broadcaster. `opening` gives what it is sent first.

    FastAPI's own event stream serialises each event anew for each client; here bytes are shared.
    """

    media_type = "text/event-stream"

    def __init__(self, broadcaster: Broadcaster, opening: Callable[[Client], bytes], hears_live: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broadcaster, self._opening, self._hears_live = broadcaster, opening, hears_live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._broadcaster.client(self._hears_live) as client:
            async with anyio.create_task_group() as tasks:
                client.scope = tasks.cancel_scope
                tasks.start_soon(_until_disconnected, receive, tasks.cancel_scope)
                await self._send(client, send)
                tasks.cancel_scope.cancel()

    async def _send(self, client: Client, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        for first in chunks_of(self._opening(client)):
            await send(_body(first))
        # One by one, so that a slow client's connection never holds more than a chunk.
        while (chunk := await client.chunks.get()) is not None:
            await send(_body(chunk))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _joined(events: Iterable[Event]) -> list[bytes]:
    return chunks_of(b"".join(one.wire for one in events))


def _body(chunk: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


async def _until_disconnected(receive: Receive, scope: anyio.CancelScope) -> None:
    with suppress(HTTPException):  # a body that is too large, or never comes: nobody has use for it
        while (await receive())["type"] != "http.disconnect":
            pass
    scope.cancel()
