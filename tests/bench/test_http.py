"""The clients that measure: they must read what a server really sends, and time what they say they time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from bench.crowd import Crowd
from bench.http import Connection, Events, data_of
from bench.load import ask
from conf.settings import Settings
from tests.feeds.serving import served

app = FastAPI()
app.state.settings = Settings()
STALL_SECONDS = 0.3


@app.get("/hello")
async def hello() -> Response:
    return Response("x" * 100_000, headers={"X-Caught-Up": "true"})


@app.get("/refuse")
async def refuse() -> Response:
    return Response("no", status_code=503, headers={"Connection": "close"})


@app.get("/stall")
async def stall() -> Response:
    time.sleep(STALL_SECONDS)
    return Response("late")


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"event: post\ndata: {}\n", b"\nda", b'ta: {"a":1}\nid: 7\n\n: live\n\ndata: la'):
            yield part
            await asyncio.sleep(0.02)

    return StreamingResponse(parts())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(app) as url:
        yield int(url.rpartition(":")[2])


def test_an_answer_is_whole_and_a_connection_is_used_again(port: int) -> None:
    async def answers() -> None:
        connection = await Connection.open("127.0.0.1", port)
        for _ in range(3):
            answer = await connection.request("GET", "/hello")
            assert (answer.status, len(answer.body), answer.headers["x-caught-up"]) == (200, 100_000, "true")
        assert not connection.lost
        connection.close()

    asyncio.run(answers())


def test_a_server_that_closes_is_an_error_and_not_an_answer(port: int) -> None:
    async def answers() -> None:
        connection = await Connection.open("127.0.0.1", port)
        assert (await connection.request("GET", "/refuse")).status == 503
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionError):
            await connection.request("GET", "/hello")

    asyncio.run(answers())


def test_events_are_whole_however_they_are_cut(port: int) -> None:
    events: list[bytes] = []

    async def read() -> None:
        connection = await Connection.open("127.0.0.1", port, Events(lambda event, _: events.append(event)).feed)
        await connection.request("GET", "/stream")
        connection.close()

    asyncio.run(read())
    assert [data_of(event) for event in events] == [b"{}", b'{"a":1}', b""]


def test_a_stream_is_known_to_be_open_or_refused_before_it_ends(port: int) -> None:
    async def statuses() -> list[int]:
        connections = [await Connection.open("127.0.0.1", port, lambda _: None) for _ in range(2)]
        found = [await one.follow(path) for one, path in zip(connections, ("/stream", "/refuse"), strict=True)]
        for one in connections:
            one.close()
        return found

    assert asyncio.run(statuses()) == [200, 503]


def test_a_client_of_the_crowd_times_probes_and_nothing_else() -> None:
    crowd = Crowd()
    crowd.take(b'event: post\ndata: {"post_id":"probe-3","caption":"10.5"}\nid: x-1', 10.75)
    crowd.take(b'event: post\ndata: {"post_id":"0a1b","caption":"9"}\nid: x-2', 11.0)
    assert list(crowd.seconds) == [0.25]


def test_a_request_that_waits_for_a_stalled_server_is_late_and_not_left_out(port: int) -> None:
    settings = Settings(http_port=port)
    asks = (("GET", path, {}) for path in ["/stall", *["/hello"] * 9])
    answers = asyncio.run(ask(settings, asks, rate=100, seconds=0.1, connections=1))
    assert list(answers.statuses) == [200] * 10
    assert min(answers.seconds) >= STALL_SECONDS - 0.1  # each was due while the first one stalled
    assert answers.span >= STALL_SECONDS
    assert answers.rate(200) == 10 / answers.span  # and not ten in the tenth of a second in which they were due


def test_refused_requests_are_told_from_answered_ones(port: int) -> None:
    asks = (("GET", path, {}) for path in ["/hello", "/refuse", "/hello"])
    answers = asyncio.run(ask(Settings(http_port=port), asks, rate=30, seconds=0.1, connections=2))
    assert sorted(answers.statuses) == [200, 200, 503]
    assert len(answers.of(503)) == 1
