"""What both feeds are: a view, a consumer that keeps it, a broadcaster and requests that wait."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request

from conf.settings import Settings
from feeds.broadcast import Broadcaster, Event
from feeds.consumer import FeedConsumer
from feeds.metrics import APPLIED, IGNORED, UNUSABLE
from feeds.records import Record, UnusableError
from feeds.stopping import on_stop_signal
from feeds.view import Offsets, View
from feeds.waiting import Waiters
from service.app import Service
from service.limits import retry_after

SWITCH_SECONDS = 0.001
"""How long the consumer's thread may hold up requests at a time; Python's own 5 ms add up."""

ViewT = TypeVar("ViewT", bound=View)
ChangeT = TypeVar("ChangeT")


class Feed(Generic[ViewT]):
    """A view and everything that moves with it. Made and used on the event loop's thread, but for `apply`."""

    def __init__(self, settings: Settings, name: str, topics: Sequence[str], view: ViewT) -> None:
        self.settings, self.view, self.topics = settings, view, topics
        self.waiters = Waiters(max(1, settings.max_requests // 4))
        self.consumer = FeedConsumer(settings, topics, view, self.apply)
        self.broadcaster = Broadcaster(name, self.reset_event, lambda: self.consumer.caught_up)
        self._loop = asyncio.get_running_loop()
        view.rebuilt = self._rebuilt
        for topic in topics:
            UNUSABLE.labels(topic)  # from 0 on: of what begins with its first burst no increase is seen

    def apply(self, records: Sequence[Record], offsets: Offsets) -> None:
        """Take a batch into the view and tell whoever waits; on the consumer's thread."""
        raise NotImplementedError

    def reset_event(self) -> Event:
        """What tells a client to reload."""
        raise NotImplementedError

    def refuse_a_part(self) -> None:
        """503 while the view is being built: posts would be missing, and counts those of an earlier time."""
        if not self.view.is_whole:
            raise HTTPException(503, self.consumer.health(), headers=retry_after(1))

    def announce(self, events: list[Event], keys: Iterable[str]) -> None:
        """Publish from the consumer's thread, after the commit."""

        def on_the_loop() -> None:
            self.broadcaster.publish(events)
            self.waiters.wake(keys)

        if events:
            self._loop.call_soon_threadsafe(on_the_loop)

    def _rebuilt(self) -> None:
        self._loop.call_soon_threadsafe(self.broadcaster.publish_reset)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Consume and broadcast for as long as the block lasts; streams end as soon as the server stops."""
        sys.setswitchinterval(SWITCH_SECONDS)
        broadcasting = asyncio.create_task(self.broadcaster.run())
        self.consumer.start()
        try:
            with on_stop_signal(self._end_requests):
                yield
        finally:
            self._end_requests()
            await asyncio.to_thread(self.consumer.close)
            broadcasting.cancel()
            with suppress(asyncio.CancelledError):
                await broadcasting
            self.view.close()

    def _end_requests(self) -> None:
        self.broadcaster.close()
        self.waiters.close()


def whole(name: str) -> Any:
    """What routes of the feed at `app.state.<name>` depend on: see `Feed.refuse_a_part`."""

    async def refuse_a_part(request: Request) -> None:
        feed: Feed[View] = getattr(request.app.state, name)
        feed.refuse_a_part()

    return Depends(refuse_a_part)


def feed_service(name: str, router: APIRouter, make: Callable[[Settings], Feed[Any]]) -> Service:
    """A service whose feed is at `app.state.<name>` while the app runs."""

    @asynccontextmanager
    async def resources(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
        feed = make(settings)
        setattr(app.state, name, feed)
        async with feed.running():
            yield

    def consumer(app: FastAPI) -> FeedConsumer:
        feed: Feed[Any] = getattr(app.state, name)
        return feed.consumer

    return Service(name, router, resources, lambda app: consumer(app).health(), lambda app: consumer(app).readiness())


def usable(records: Sequence[Record], read: Callable[[Record], ChangeT]) -> list[ChangeT]:
    """What the records say; those that say nothing are counted and passed over."""
    changes = []
    for record in records:
        try:
            changes.append(read(record))
        except UnusableError:
            UNUSABLE.labels(record.topic).inc()
    return changes


def count(topic: str, changes: int, ignored: int = 0) -> None:
    """Tell Prometheus how many records were applied, and how many were no news."""
    APPLIED.labels(topic).inc(changes - ignored)
    IGNORED.labels(topic).inc(ignored)
