"""Refresh Feed service: the posts with their counts, newest first, live.

.venv/bin/python -m feeds.refresh_feed
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated, cast

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.sse import format_sse_event
from pydantic import BaseModel, BeforeValidator, TypeAdapter

from conf.settings import Settings
from contract.facts import Identifier, Moment, format_time
from contract.results import PostWithCounts, Token
from contract.topics import POSTS_WITH_COUNTS
from feeds import explain
from feeds.broadcast import Client, Event, EventStream, Live, live
from feeds.feed import Feed, count, feed_service, usable, whole
from feeds.records import Record, has_post_token, post_change
from feeds.store import Page, PostStore, Update
from feeds.view import Offsets
from feeds.waiting import After, wrong_query
from service.app import refusals, serve_alone
from service.limits import network_of

PAGE = 20
router = APIRouter(tags=["refresh feed"], dependencies=[whole("refresh_feed")])
UNKNOWN = refusals(_404="it is not known, or was deleted")
_cursor: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[Moment, Identifier])


class FeedPage(BaseModel):
    """A page of the feed. `stream_id` is where `/feed/stream` goes on after it."""

    posts: list[PostWithCounts]
    next: str | None
    as_of: str
    stream_id: str


class RefreshFeed(Feed[PostStore]):
    """The view of `posts_with_counts`."""

    def __init__(self, settings: Settings) -> None:
        store = PostStore(settings.feeds_dir / "refresh_feed.sqlite")
        super().__init__(settings, "refresh", [POSTS_WITH_COUNTS], store)

    def apply(self, records: Sequence[Record], offsets: Offsets) -> None:
        changes = usable(records, post_change)
        updates, ignored = self.view.apply(changes, offsets)
        count(POSTS_WITH_COUNTS, len(changes), ignored)
        epoch = self.view.epoch
        self.announce([_event(update, epoch) for update in updates], [update.post_id for update in updates])

    def reset_event(self) -> Event:
        return Event("reset", 0, self._reset(self.view.page(PAGE, None)))

    def _reset(self, page: Page) -> bytes:
        """With the page itself: asked for, it might come from another instance, whose ids mean nothing here."""
        return format_sse_event(event="reset", data_str=_page_json(page, self.consumer.as_of), id=page.stream_id)

    async def has_seen(self, after: str, address: str) -> bool:
        """Whether the command of this token is visible now, or within the time that one may wait."""
        token = Token.parse(after)

        def done() -> bool:
            seen = self.view.seen(token.post_id)
            return has_post_token(seen, token.topic, token.partition, token.offset)

        caught_up = await self.waiters.until(token.post_id, done, self.settings.wait_seconds, address)
        self.refuse_a_part()  # it may have begun to be built meanwhile
        return caught_up

    def opening(self, client: Client, last_event_id: str | None) -> bytes:
        """What a new stream is sent first: where it stands, and what it missed."""
        updates: list[Update] | None = []
        current = self.view.stream_id()
        if last_event_id is not None:
            updates, current = self.view.missed(last_event_id)
        if updates is None:
            page = self.view.page(PAGE, None)
            client.since = int(page.stream_id.partition("-")[2])
            return self._reset(page) + live(client)
        epoch, _, seq = current.partition("-")
        client.since = int(seq)
        missed = b"".join(_event(update, epoch).wire for update in updates)
        return missed + live(client, current)


def _event(update: Update, epoch: str) -> Event:
    name = "deleted" if update.body is None else "post"
    data = update.body or json.dumps({"post_id": update.post_id})
    wire = format_sse_event(event=name, data_str=data, id=f"{epoch}-{update.seq}")
    return Event(update.post_id, update.seq, wire)


@router.get("/feed", summary="The newest posts", response_model=FeedPage)
async def feed(
    request: Request,
    limit: Annotated[int, BeforeValidator(lambda value: value or PAGE), Query(ge=1, le=100)] = PAGE,
    before: Annotated[str | None, Query(description="`next` of the page before this one")] = None,
    after: After = None,
) -> Response:
    """Living posts, newest first by (created_at, post_id)."""
    here = _here(request.app)
    cursor = _read_cursor(before) if before else None
    headers = await _wait(request, after)
    page = here.view.page(limit, cursor)
    return Response(_page_json(page, here.consumer.as_of), media_type="application/json", headers=headers)


@router.get("/posts/{post_id}", summary="One post", response_model=PostWithCounts, responses=UNKNOWN)
async def post(request: Request, post_id: str, after: After = None) -> Response:
    """A living post with its counts; 404 where it is not known, or was deleted."""
    here = _here(request.app)
    headers = await _wait(request, after)
    body = here.view.body(post_id)
    if body is None:
        raise HTTPException(404, "there is no such post", headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/feed/stream", summary="Every change of the feed", response_class=EventStream, status_code=200)
async def stream(
    request: Request,
    last_event_id: Annotated[str | None, Query(description="`stream_id` of a page")] = None,
    resume_from: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    live: Live = False,
) -> Response:
    """Server-sent events: `post` (a post as it is now), `deleted` (post_id), `reset` (the newest page: begin anew).

    After what was missed and every 15 seconds it says that it is live.
    """
    here = _here(request.app)
    resume = resume_from or last_event_id
    return EventStream(here.broadcaster, lambda client: here.opening(client, resume), live)


router.include_router(explain.router)


def _page_json(page: Page, as_of: float) -> str:
    """The page as JSON; the posts are JSON already."""
    moment = format_time(datetime.fromtimestamp(as_of, timezone.utc))
    after = json.dumps(None if page.last is None else _write_cursor(page.last))
    posts = ",".join(page.bodies)
    return f'{{"posts":[{posts}],"next":{after},"as_of":"{moment}","stream_id":"{page.stream_id}"}}'


def _write_cursor(last: tuple[str, str]) -> str:
    return urlsafe_b64encode("|".join(last).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[str, str]:
    try:
        parts = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        return _cursor.validate_python(tuple(parts))
    except ValueError:
        raise wrong_query("before", "not a cursor that a page was answered with") from None


async def _wait(request: Request, after: str | None) -> dict[str, str]:
    if not after:
        return {}
    caught_up = await _here(request.app).has_seen(after, network_of(request.client))
    return {"X-Caught-Up": "true" if caught_up else "false"}


def _here(app: FastAPI) -> RefreshFeed:
    return cast(RefreshFeed, app.state.refresh_feed)


SERVICE = feed_service("refresh_feed", router, RefreshFeed)


if __name__ == "__main__":
    serve_alone(SERVICE)
