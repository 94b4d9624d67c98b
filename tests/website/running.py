"""The stand-in as a running server, for tests."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from conf.settings import Settings
from tests.website.stand_in import create_app
from tests.website.world import World

START_SECONDS = 10


@contextmanager
def running(folder: Path, world: World, port: int = 0, demo: bool = True) -> Iterator[str]:
    """The stand-in's address, for as long as the block lasts."""
    settings = Settings(data_dir=folder, demo=demo, auth_secret="s" * 32)
    config = uvicorn.Config(create_app(settings, world), log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        _wait_until_started(server)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        world.closing = True
        thread.join()
        listener.close()


def _wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the stand-in did not start")
        time.sleep(0.01)
