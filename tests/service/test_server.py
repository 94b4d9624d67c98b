"""The server under load: who comes late is let in, and what is answered leaves at once."""

import asyncio
import inspect
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from fastapi import FastAPI

from conf.settings import Settings
from producers.publisher import Publisher
from service.server import STOP_SECONDS, listen, server_config
from tests.service.conftest import Serve

MANY = 100


def test_who_comes_while_the_server_is_busy_is_let_in_with_the_others(serve: Serve) -> None:
    with serve(address_rate=10_000, address_burst=1_000) as running, ExitStack() as stack:
        turns, is_over = 0, False

        async def keep_busy() -> None:
            nonlocal turns
            while not is_over:
                time.sleep(0.01)
                turns += 1
                await asyncio.sleep(0)

        spinning = asyncio.run_coroutine_threadsafe(keep_busy(), running.app.state.loop)
        address = ("127.0.0.1", running.port)
        clients = [stack.enter_context(socket.create_connection(address, 60)) for _ in range(MANY)]
        before = turns
        for client in clients:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % running.port)
        answers = [client.recv(15) for client in clients]
        waited, is_over = turns - before, True
        spinning.result(20)
    assert set(answers) == {b"HTTP/1.1 200 OK"}
    assert waited < MANY / 2


def test_a_server_that_stops_waits_longer_than_a_fact_may_for_its_acknowledgement() -> None:
    deadline = inspect.signature(Publisher).parameters["deadline_seconds"].default
    app = FastAPI()
    app.state.settings = Settings()
    assert server_config(app).timeout_graceful_shutdown == STOP_SECONDS > deadline


def test_what_is_written_does_not_wait_for_an_acknowledgement() -> None:
    async def accepted() -> bool:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[asyncio.BaseTransport] = loop.create_future()

        class Accepting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.set_result(transport)

        server = await loop.create_server(Accepting, sock=listen("127.0.0.1", 0))
        async with server:
            with socket.create_connection(server.sockets[0].getsockname()):
                transport = await made
                option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.close()
        return bool(option)

    assert asyncio.run(accepted())


@pytest.mark.parametrize(("begin", "goes_on"), [("server.lose_lines()", True), ("", False)])
def test_a_full_disk_takes_a_line_of_the_log_and_not_the_thread_that_says_it(begin: str, goes_on: bool) -> None:
    code = f"import structlog, sys; from service import server\n{begin}\n" + (
        "structlog.get_logger().warning('of no use'); sys.stderr.write('goes on')"
    )
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert ("goes on" in ended.stderr.splitlines()) == goes_on
    assert goes_on or "No space left on device" in ended.stderr
