"""Writes many records at least once: fast, bounded, and on over a broker that goes away."""

from collections import deque
from collections.abc import Callable
from types import TracebackType

from producers.publisher import BrokerUnavailable, Delivery, Publisher, Record, Stored

IN_FLIGHT = 20_000


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
        self.acknowledged = 0

    def write(self, record: Record) -> None:
        """Send one record; waits where too many are unacknowledged, or the broker is away."""
        self._send(record)
        while self._window and (self._window[0][1].settled or len(self._window) > self._in_flight):
            self._settle_oldest()

    def flush(self) -> None:
        """Return when everything written is acknowledged."""
        while self._window:
            self._settle_oldest()

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
        record, delivery = self._window.popleft()
        try:
            stored = self._publisher.acknowledged(delivery)
        except BrokerUnavailable:
            self._send(record)
        else:
            self.acknowledged += 1
            self._tell(record, stored)
