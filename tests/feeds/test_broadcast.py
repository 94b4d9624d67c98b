"""Streams of events from a real server: order, bounds, slow clients and the end."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Response

from conf.settings import Settings
from feeds import broadcast
from feeds.broadcast import CHUNK_BYTES, PENDING_MAX, PENDING_MAX_BYTES, Broadcaster, Client, Event, EventStream, event
from service import middleware
from service.middleware import BodyLimit
from tests.feeds.serving import event_stream, served, wait_for


class Stage:
    """A broadcaster behind a server, driven from the test's thread."""

    def __init__(self) -> None:
        self.ready = True
        self.reset = lambda: event("reset", "{}")
        self.url = ""
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.state.settings = Settings()
        self.app.add_middleware(BodyLimit, json_bytes=1_000, form_bytes=1_000)
        self.app.add_api_route("/stream", self._stream)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        self.broadcaster = Broadcaster("test", lambda: self.reset(), lambda: self.ready)
        running = asyncio.create_task(self.broadcaster.run())
        yield
        running.cancel()

    async def _stream(self, since: int = -1, live: bool = False) -> Response:
        def opening(client: object) -> bytes:
            client.since = since  # type: ignore[attr-defined]
            return b": hello\n\n"

        return EventStream(self.broadcaster, opening, live)

    def publish(self, *events: Event) -> None:
        self.loop.call_soon_threadsafe(self.broadcaster.publish, events)

    def clients(self) -> int:
        return len(self.broadcaster._clients)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    with served(stage.app) as stage.url:
        yield stage


def number(value: int, key: str | None = None) -> Event:
    made = event("number", str(value), value, str(value))
    return Event(key or str(value), made.seq, made.wire)


def test_every_client_gets_every_event_in_order(stage: Stage) -> None:
    with event_stream(f"{stage.url}/stream") as one, event_stream(f"{stage.url}/stream") as two:
        wait_for(lambda: stage.clients() == 2)
        stage.publish(number(1), number(2))
        stage.publish(number(3))
        assert [next(one).data for _ in range(3)] == [1, 2, 3]
        assert [next(two).data for _ in range(3)] == [1, 2, 3]


def test_of_one_post_only_the_newest_state_is_sent(stage: Stage) -> None:
    stage.ready = False
    with event_stream(f"{stage.url}/stream") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.publish(number(1, "a"), number(2, "b"), number(3, "a"))
        stage.ready = True
        assert [next(events).data for _ in range(2)] == [2, 3]


def test_a_client_is_not_sent_again_what_it_opened_with(stage: Stage) -> None:
    with event_stream(f"{stage.url}/stream?since=2") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.publish(number(1), number(2), number(3))
        assert next(events).data == 3


def test_when_too_much_changed_at_once_clients_reload(stage: Stage) -> None:
    with event_stream(f"{stage.url}/stream") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.publish(*(number(value) for value in range(PENDING_MAX + 1)))
        assert next(events).event == "reset"


def test_when_what_changed_is_too_large_clients_reload(stage: Stage) -> None:
    stage.ready = False
    with event_stream(f"{stage.url}/stream") as events:
        wait_for(lambda: stage.clients() == 1)
        large = f'"{"x" * 25_000}"'
        stage.publish(*(event(str(value), large, value) for value in range(PENDING_MAX_BYTES // 25_000 + 1)))
        stage.ready = True
        assert next(events).event == "reset"


def test_what_was_published_before_a_reset_was_sent_is_in_it(stage: Stage) -> None:
    stage.ready = False
    with event_stream(f"{stage.url}/stream") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.loop.call_soon_threadsafe(stage.broadcaster.publish_reset)
        stage.publish(number(1))
        stage.ready = True
        assert next(events).event == "reset"
        stage.publish(number(2))
        assert next(events).data == 2


def test_what_is_sent_at_once_is_cut_into_pieces_that_all_clients_share(stage: Stage) -> None:
    async def queued() -> list[list[bytes | None]]:
        clients = [Client(), Client()]
        stage.broadcaster._clients = {*clients}
        stage.broadcaster.publish([event(str(value), f'"{"x" * 25_000}"', value) for value in range(10)])
        await stage.broadcaster._flush()
        stage.broadcaster._clients = set()
        return [[client.chunks.get_nowait() for _ in range(client.chunks.qsize())] for client in clients]

    one, other = asyncio.run_coroutine_threadsafe(queued(), stage.loop).result(20)
    assert [len(chunk or b"") for chunk in one][:-1] == [CHUNK_BYTES] * (len(one) - 1)
    assert b"".join(filter(None, one)).count(b"\n\n") == 10
    assert [id(chunk) for chunk in one] == [id(chunk) for chunk in other]


@pytest.mark.parametrize("ready", [True, False])
def test_a_stream_says_that_it_is_live(monkeypatch: pytest.MonkeyPatch, ready: bool) -> None:
    monkeypatch.setattr(broadcast, "KEEPALIVE_SECONDS", 0.2)
    stage = Stage()
    stage.ready = ready
    with (
        served(stage.app) as stage.url,
        event_stream(f"{stage.url}/stream?live=1") as events,
        event_stream(f"{stage.url}/stream") as without,
    ):
        wait_for(lambda: stage.clients() == 2)
        if not ready:
            stage.publish(number(1))
        for _ in range(3):
            said = next(events)
            assert (said.event, said.data, said.id) == ("live", {}, None)
        stage.ready = True
        stage.publish(number(2))
        assert 2 in [next(events).data for _ in range(8)], "and what is to be sent is sent"
        assert next(without).data in (1, 2), "to whoever did not ask it is a comment"


def test_after_a_reset_a_client_gets_changes_that_are_counted_anew(stage: Stage) -> None:
    is_reset_and_goes_on(stage, "stream?since=5000")


def is_reset_and_goes_on(stage: Stage, stream: str) -> None:
    with event_stream(f"{stage.url}/{stream}") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.loop.call_soon_threadsafe(stage.broadcaster.publish_reset)
        assert next(events).event == "reset"
        stage.publish(number(1))
        assert next(events).data == 1


def test_a_reset_that_cannot_be_made_is_tried_again(stage: Stage) -> None:
    good, asked = stage.reset, []

    def reset() -> Event:
        asked.append(1)
        if len(asked) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return good()

    stage.reset = reset
    is_reset_and_goes_on(stage, "stream")


def test_a_stream_whose_request_promised_a_body_ends_without_a_failure(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(middleware, "JSON_SECONDS", 0.3)
    url = urlsplit(stage.url)
    with closing(socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=20)) as sock:
        sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert b": hello" in answer
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_slow_client_is_dropped_and_the_others_are_not_held_up(stage: Stage) -> None:
    address = urlsplit(stage.url)
    assert address.hostname
    with socket.create_connection((address.hostname, address.port or 0)) as slow:
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: stage.clients() == 1)
        with event_stream(f"{stage.url}/stream") as quick:
            wait_for(lambda: stage.clients() == 2)
            big = "x" * 500_000
            for value in range(1, 1_000):
                stage.publish(event(str(value), f'"{big}"', value))
                assert next(quick).event == str(value)
                if stage.clients() == 1:
                    break
            assert stage.clients() == 1
            stage.publish(number(5_000))
            assert next(quick).data == 5_000
        slow.settimeout(20)
        while slow.recv(1 << 20):  # what was on its way, and then the end
            pass


def test_a_client_that_leaves_is_forgotten(stage: Stage) -> None:
    with event_stream(f"{stage.url}/stream"):
        wait_for(lambda: stage.clients() == 1)
    wait_for(lambda: stage.clients() == 0)


def test_closing_ends_every_stream(stage: Stage) -> None:
    with event_stream(f"{stage.url}/stream") as events:
        wait_for(lambda: stage.clients() == 1)
        stage.loop.call_soon_threadsafe(stage.broadcaster.close)
        assert list(events) == []
    with event_stream(f"{stage.url}/stream") as late:
        assert list(late) == []
