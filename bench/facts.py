"""A history to measure with: like that of the simulator, made fast, with popularity that one can set."""

import logging
import os
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from multiprocessing import get_context
from uuid import UUID

import structlog

from conf.settings import Settings
from contract.facts import (
    CommentAdded,
    CommentDeleted,
    PostCreated,
    PostDeleted,
    PostLiked,
    PostUnliked,
    format_time,
    new_event_id,
)
from producers.bulk import BulkWriter
from producers.publisher import Publisher, Record

SPAN = timedelta(minutes=50)
WRITERS = max(1, min(4, os.cpu_count() or 1))
CAPTION = "The light at the harbour this morning, before anybody was up."


@dataclass(frozen=True)
class History:
    """What is written: `facts` in all, `posts` of them new posts, the others engagement on those by `users`.

    Popularity falls with the rank of a post to the power of `zipf` (0: all alike); `hot` is the share of the
    engagement that one post gets beside that.
    """

    facts: int
    posts: int = 20_000
    users: int = 100_000
    zipf: float = 1.2
    hot: float = 0.0
    seed: int = 1


def post_id(number: int) -> str:
    """The same in every process that writes."""
    return UUID(int=random.Random(number).getrandbits(128)).hex


def records(history: History, writer: int, writers: int, until: datetime) -> Iterator[Record]:
    """The share of one of the writers: its posts, and then engagement on the posts of all, dated up to `until`."""
    story = Story(history, writer)
    own = story.posts[writer::writers]
    engagement = max(0, history.facts - history.posts) // writers
    engagement += writer < max(0, history.facts - history.posts) % writers
    step = SPAN / max(1, len(own) + engagement)
    for number, post in enumerate(own):
        yield Record.of(created(post, format_time(until - SPAN + step * number)))
    for number in range(len(own), len(own) + engagement):
        yield story.next(format_time(until - SPAN + step * number))


def created(post: str, at: str) -> PostCreated:
    """A new post, by an author of its own."""
    return PostCreated(
        event_id=new_event_id(),
        occurred_at=at,
        user_id=f"author-{post[:6]}",
        post_id=post,
        image_url="/media/none.png",
        caption=CAPTION,
    )


class Story:
    """Engagement on the posts of a history.

    Of a hundred: 77 likes, 4 taken back, 17 comments, 1 deleted, 1 record redelivered; now and then a post deleted.
    """

    def __init__(self, history: History, writer: int = 0) -> None:
        self._rng, self._history = random.Random(f"bench {history.seed} {writer}"), history
        self.posts = [post_id(number) for number in range(history.posts)]
        self._weights = list(accumulate((rank + 1) ** -history.zipf for rank in range(history.posts)))
        self._liked: deque[tuple[str, str]] = deque(maxlen=1_000)
        self._added: deque[tuple[str, str, str]] = deque(maxlen=1_000)
        self._last: Record | None = None

    def next(self, at: str) -> Record:
        """What happens now, dated `at`."""
        chance = self._rng.random()
        if chance < 0.01 and self._last is not None:
            return self._last
        self._last = Record.of(self._fact(chance, at))
        return self._last

    def _fact(self, chance: float, at: str) -> PostLiked | PostUnliked | CommentAdded | CommentDeleted | PostDeleted:
        event, user = new_event_id(), f"user-{self._rng.randrange(self._history.users)}"
        if chance < 0.05 and self._liked:
            post, user = self._taken(self._liked)
            return PostUnliked(event_id=event, occurred_at=at, user_id=user, post_id=post)
        if chance < 0.06 and self._added:
            post, user, comment = self._taken(self._added)
            return CommentDeleted(event_id=event, occurred_at=at, user_id=user, post_id=post, comment_id=comment)
        if chance > 0.9999:  # seldom of a post that everybody looks at
            post = self._rng.choice(self.posts)
            return PostDeleted(event_id=event, occurred_at=at, user_id=f"author-{post[:6]}", post_id=post)
        post = self._post()
        if chance < 0.23:
            self._added.append((post, user, event))
            return CommentAdded(
                event_id=event, occurred_at=at, user_id=user, post_id=post, comment_id=event, text="What a light!"
            )
        self._liked.append((post, user))
        return PostLiked(event_id=event, occurred_at=at, user_id=user, post_id=post)

    def _taken(self, some: deque):  # type: ignore[no-untyped-def, type-arg]
        some.rotate(self._rng.randrange(len(some)))
        return some.pop()

    def _post(self) -> str:
        if self._history.hot and self._rng.random() < self._history.hot:
            return self.posts[-1]
        return self._rng.choices(self.posts, cum_weights=self._weights)[0]


def write(settings: Settings, history: History) -> int:
    """Write it, as fast as it goes, in several processes; how many the broker acknowledged."""
    until = datetime.now(timezone.utc)
    with ProcessPoolExecutor(WRITERS, get_context("spawn")) as pool:
        shares = [pool.submit(_write_share, settings, history, writer, WRITERS, until) for writer in range(WRITERS)]
        written = sum(share.result() for share in shares)
    if written != history.facts:
        raise SystemExit(f"{written:,} facts were written instead of {history.facts:,}")
    return written


def quiet() -> None:
    """Only warnings: each process of ours would say that it has connected."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def _write_share(settings: Settings, history: History, writer: int, writers: int, until: datetime) -> int:
    quiet()
    publisher = Publisher(settings.acting_as("simulator"))
    try:
        with BulkWriter(publisher) as bulk:
            for record in records(history, writer, writers, until):
                bulk.write(record)
        return bulk.acknowledged
    finally:
        publisher.close()
