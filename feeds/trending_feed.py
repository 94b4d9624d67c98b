"""Trending Feed service: the best posts of the past hour, and the best young ones, live.

.venv/bin/python -m feeds.trending_feed
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response

from conf.settings import Settings
from contract.facts import format_time
from contract.results import Ranking, Token
from contract.topics import RISING_POSTS, TRENDING_POSTS
from feeds.broadcast import Client, Event, EventStream, Live, event, live
from feeds.feed import Feed, count, feed_service, usable, whole
from feeds.rankings import RankingStore
from feeds.records import Record, has_ranking_token, ranking_change
from feeds.view import Offsets
from feeds.waiting import After
from service.app import serve_alone
from service.limits import network_of

router = APIRouter(tags=["trending feed"], dependencies=[whole("trending_feed")])
EVENTS = {TRENDING_POSTS: "trending", RISING_POSTS: "rising"}


class TrendingFeed(Feed[RankingStore]):
    """The view of `trending_posts` and `rising_posts`."""

    def __init__(self, settings: Settings) -> None:
        store = RankingStore(settings.feeds_dir / "trending_feed.sqlite")
        super().__init__(settings, "trending", list(EVENTS), store)

    def apply(self, records: Sequence[Record], offsets: Offsets) -> None:
        changes = usable(records, ranking_change)
        rankings = self.view.apply(changes, offsets)
        for topic in EVENTS:
            count(topic, sum(change.topic == topic for change in changes))
        self.announce([event(EVENTS[topic], body) for topic, body in rankings.items()], rankings)

    def reset_event(self) -> Event:
        """The rankings themselves: each is whole."""
        return Event("reset", 0, self._rankings())

    def opening(self, client: Client) -> bytes:
        """The rankings as they are, and that the stream is there."""
        return self._rankings() + live(client)

    def _rankings(self) -> bytes:
        return b"".join(event(name, self.ranking(topic)).wire for topic, name in EVENTS.items())

    def ranking(self, topic: str) -> str:
        """The newest ranking as JSON; an empty one when there has been none yet."""
        return self.view.body(topic) or _empty(datetime.now(timezone.utc)).model_dump_json()

    async def answer(self, request: Request, topic: str, after: str | None) -> Response:
        """The ranking; with a token, once what it names had been read, or the wait is over."""
        headers = {}
        if after:
            token = Token.parse(after)

            def done() -> bool:
                seen = self.view.seen(topic)
                return has_ranking_token(seen, token.topic, token.partition, token.offset)

            address = network_of(request.client)
            caught_up = await self.waiters.until(topic, done, self.settings.wait_seconds, address)
            self.refuse_a_part()  # it may have begun to be built meanwhile
            headers["X-Caught-Up"] = "true" if caught_up else "false"
        return Response(self.ranking(topic), media_type="application/json", headers=headers)


def _empty(now: datetime) -> Ranking:
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    start = format_time(end - timedelta(hours=1))
    return Ranking(window_start=start, window_end=format_time(end), generated_at=format_time(now), posts=[])


@router.get("/trending", summary="The best posts of the past hour", response_model=Ranking)
async def trending(request: Request, after: After = None) -> Response:
    return await _here(request.app).answer(request, TRENDING_POSTS, after)


@router.get("/rising", summary="The best posts that are less than an hour old", response_model=Ranking)
async def rising(request: Request, after: After = None) -> Response:
    return await _here(request.app).answer(request, RISING_POSTS, after)


@router.get("/trending/stream", summary="Every new ranking", response_class=EventStream, status_code=200)
async def stream(request: Request, live: Live = False) -> Response:
    """Server-sent events: `trending` and `rising`, each with a whole ranking; both at once to begin with.

    Then and every 15 seconds it says that it is live.
    """
    here = _here(request.app)
    return EventStream(here.broadcaster, here.opening, live)


def _here(app: FastAPI) -> TrendingFeed:
    return cast(TrendingFeed, app.state.trending_feed)


SERVICE = feed_service("trending_feed", router, TrendingFeed)


if __name__ == "__main__":
    serve_alone(SERVICE)
