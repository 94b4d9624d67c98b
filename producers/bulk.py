"""Writes many records at least once: fast, bounded, and on over a broker that goes away."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from producers.publisher import BrokerUnavailable, Delivery, Publisher, Record, Stored

IN_FLIGHT = 20_000
FINISH_SECONDS = 10.0

Tell = Callable[[Record, Stored], None]
"""Gets a record that the broker acknowledged, and where it is."""


def nobody(record: Record, stored: Stored) -> None:
    """Is told."""


class BulkWriter:
    """Keeps up to `in_flight` records unacknowledged, and sends again what the broker did not take.

    A context manager: leaving it waits until all is acknowledged. `tell` gets each record that was, and where it is.
    """

    def __init__(
        self,
        publisher: Publisher,
        in_flight: int = IN_FLIGHT,
        tell: Tell = nobody,
    ) -> None:
        self._publisher, self._in_flight, self._tell = publisher, in_flight, tell
        self._window: deque[tuple[Record, Delivery]] = deque()
        self.written = self.acknowledged = 0

    def write(self, record: Record) -> None:
        """Send one record; waits where too many are unacknowledged, or the broker is away."""
        self.written += 1
        self._send(record)
        while self._window and (self._window[0][1].settled or len(self._window) > self._in_flight):
            self._settle_oldest()

    def flush(self) -> None:
        """Return when everything written is acknowledged."""
        while self._window:
            self._settle_oldest()

    def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """Wait so long for what is sent, and send nothing again: for who is told to stop, be the broker away or not.

        A record that is waited for when the time is up has its own deadline.
        """
        deadline = time.monotonic() + seconds
        while self._window and (self._window[0][1].settled or time.monotonic() < deadline):
            with suppress(BrokerUnavailable):
                self._take_oldest()

    def __enter__(self) -> "BulkWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()

    def _send(self, record: Record) -> None:
        while True:
            self._publisher.wait_until_ready()
            try:
                self._window.append((record, self._publisher.send(record)))
                return
            except BrokerUnavailable:
                continue

    def _settle_oldest(self) -> None:
        record, _ = self._window[0]
        try:
            self._take_oldest()
        except BrokerUnavailable:
            self._send(record)

    def _take_oldest(self) -> None:
        """Out of the window once it is settled, so that who is interrupted meanwhile still has it."""
        record, delivery = self._window[0]
        try:
            stored = self._publisher.acknowledged(delivery)
        except BrokerUnavailable:
            self._window.popleft()
            raise
        self._window.popleft()
        self.acknowledged += 1
        self._tell(record, stored)
