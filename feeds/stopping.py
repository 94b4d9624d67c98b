"""Notices that the server is told to stop, before uvicorn waits for its open connections."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(callback: Callable[[], None]) -> Iterator[None]:
    """Call back on the event loop at SIGTERM or Ctrl-C, and leave the stopping to the server's own handler.

    The lifespan ends only after the last connection, and a stream of events never ends by itself.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not for this thread; whoever runs the server stops it
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        servers = previous[signal.Signals(number)]
        if callable(servers):
            servers(number, frame)

    handled = [number for number, handler in previous.items() if callable(handler)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, previous[number])
