"""Apps on the server of the real ones, and clients of their event streams."""

import json
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from service.server import listen, server_config

PATIENCE_SECONDS = 60.0
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(23_100 + 900 * WORKER, 24_000 + 900 * WORKER)
"""Of this worker alone: a port that was free a moment ago would be another's."""


@dataclass(frozen=True)
class SentEvent:
    """What a browser's EventSource would make of it."""

    event: str
    data: Any
    id: str | None


def free_ports(count: int) -> int:
    """The first of that many free ports in a row; from a place of chance, since others look for some, too."""
    start = random.randrange(len(PORTS) - count)
    for first in (*PORTS[start :: count + 8], *PORTS[: start : count + 8]):
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError(f"no {count} ports in a row are free in {PORTS}")


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The address of the app while it runs in a thread of its own, as services run."""
    listener = listen("127.0.0.1", port)
    server = uvicorn.Server(server_config(app, timeout_graceful_shutdown=2))  # no signal ends its streams here
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        assert server.started, "the app did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Until it holds; AssertionError when it does not in time."""
    done = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        done.wait(0.02)
    raise AssertionError("it did not come to be in time")


@contextmanager
def event_stream(url: str, **arguments: Any) -> Iterator[Iterator[SentEvent]]:
    """The events of a stream, as they come; what has only an id is an event without data."""
    with (
        httpx2.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client,
        client.stream("GET", url, **arguments) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[SentEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            data = json.loads(fields["data"]) if "data" in fields else None
            yield SentEvent(fields.get("event", ""), data, fields.get("id"))
            fields = {}
