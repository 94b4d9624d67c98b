"""The stand-in's memory: facts take a moment to be counted, as in the real pipeline."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from contract.facts import format_time, new_event_id
from contract.results import Token
from feeds.explaining import Archived
from producers.simulator.words import caption
from runtime.web import DEMO_USERS

LATENCY_SECONDS = 0.15
LIVE_SECONDS = 15.0
Post = dict[str, Any]


class Refused(ValueError):  # noqa: N818 - reads as what it is
    """A command that is not this user's to give."""


def now(minutes_ago: float = 0) -> str:
    return format_time(datetime.now(timezone.utc) - timedelta(minutes=minutes_ago))


class World:
    """Commands go in, are counted a moment later, and come out as results and events."""

    def __init__(self, rate: float = 0.0) -> None:
        self.rate = rate
        self.broker_away = False
        self.closing = False
        self.opened = self.closed = 0
        self.lost = 0
        self.epoch = uuid4().hex[:8]
        self.published: dict[str, Post] = {}
        self.log: list[tuple[str, Any]] = []
        self._likes: dict[str, set[str]] = {}
        self._comments: dict[str, dict[str, str]] = {}
        self._facts: dict[str, list[Archived]] = {}
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._applying = threading.Lock()
        self._stored = 0
        self._counted = 0
        self._news = asyncio.Condition()

    def create_post(self, user: str, image_url: str, caption: str, minutes_ago: float = 0) -> dict[str, str]:
        post = {
            "post_id": new_event_id(),
            "user_id": user,
            "image_url": image_url,
            "caption": caption,
            "created_at": now(minutes_ago),
        }
        fact = {"event_type": "post_created", "user_id": user}
        answer = self._store("posts", post["post_id"], lambda: self._create(post), **fact)
        return {**answer, "image_url": image_url}

    def delete_post(self, user: str, post_id: str) -> dict[str, str]:
        if self.published.get(post_id, {"user_id": user})["user_id"] != user:
            raise Refused(f"{post_id} is not yours")
        fact = {"event_type": "post_deleted", "user_id": user}
        return self._store("posts", post_id, lambda: self._remove(post_id), **fact)

    def like(self, user: str, post_id: str, likes: bool) -> dict[str, str]:
        standing = self._likes.setdefault(post_id, set())
        change = standing.add if likes else standing.discard
        fact = {"event_type": "post_liked" if likes else "post_unliked", "user_id": user}
        return self._store("likes", post_id, lambda: self._count(post_id, lambda: change(user)), **fact)

    def add_comment(self, user: str, post_id: str, text: str) -> dict[str, str]:
        comment_id = new_event_id()
        comments = self._comments.setdefault(post_id, {})
        change = lambda: comments.__setitem__(comment_id, user)  # noqa: E731
        fact = {"event_type": "comment_added", "user_id": user, "comment_id": comment_id}
        return {**self._store("comments", post_id, lambda: self._count(post_id, change), **fact), **fact}

    def delete_comment(self, user: str, post_id: str, comment_id: str) -> dict[str, str]:
        comments = self._comments.setdefault(post_id, {})
        if comments.get(comment_id, user) != user:
            raise Refused(f"{comment_id} is not yours")
        change = lambda: comments.pop(comment_id, None)  # noqa: E731
        fact = {"event_type": "comment_deleted", "user_id": user, "comment_id": comment_id}
        return self._store("comments", post_id, lambda: self._count(post_id, change), **fact)

    def _store(self, topic: str, post_id: str, apply: Callable[[], None], **fact: str) -> dict[str, str]:
        self._stored += 1
        told = {**fact, "event_id": new_event_id(), "occurred_at": now()}
        arrived = datetime.now(timezone.utc)
        self._facts.setdefault(post_id, []).append(Archived(topic, 0, self._stored, arrived, told, None))
        self._waiting.append((apply, self._stored))
        token = Token(topic=topic, partition=0, offset=self._stored, post_id=post_id)
        return {"event_id": new_event_id(), "post_id": post_id, "token": str(token)}

    def _create(self, post: Post) -> None:
        self.published[post["post_id"]] = {**post, "likes": 0, "comments": 0, "version": 0}
        self._count(post["post_id"], lambda: None)

    def _remove(self, post_id: str) -> None:
        if self.published.pop(post_id, None):
            self.log.append(("deleted", {"post_id": post_id}))

    def _count(self, post_id: str, change: Callable[[], Any]) -> None:
        change()
        post = self.published.get(post_id)
        if post is None:
            return
        self.published[post_id] = {
            **post,
            "likes": len(self._likes.get(post_id, ())),
            "comments": len(self._comments.get(post_id, ())),
            "updated_at": now(),
            "version": post["version"] + 1,
        }
        self.log.append(("post", self.published[post_id]))

    def counted_facts(self, post_id: str) -> list[Archived]:
        """What went into a post, as the archive has it."""
        return [fact for fact in self._facts.get(post_id, []) if fact.offset <= self._counted]

    def likes_of(self, post_id: str) -> int:
        return int(self.published[post_id]["likes"])

    def has_counted_all(self) -> bool:
        return self._counted == self._stored

    def apply_all(self) -> None:
        """Count what is stored; the server's thread does so too."""
        with self._applying:
            while self._waiting:
                apply, self._counted = self._waiting.popleft()
                apply()

    async def run(self) -> None:
        """The pipeline: counts what is stored, a moment later, and makes traffic where that is asked for."""
        chance, due = random.Random(2), 0.0
        self._news = asyncio.Condition()  # of this event loop: a world outlives its servers
        while True:
            await asyncio.sleep(LATENCY_SECONDS)
            due += self.rate * LATENCY_SECONDS
            while due >= 1:
                due -= 1
                self.random_fact(chance)
            self.apply_all()
            async with self._news:
                self._news.notify_all()

    async def rest(self, seconds: float) -> None:
        """So long, or until it closes."""
        await self._until(lambda: self.closing, seconds)

    async def until_seen(self, token: str, seconds: float) -> bool:
        offset = Token.parse(token).offset
        return await self._until(lambda: self._counted >= offset, seconds)

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            async with self._news:  # comes again and again
                await self._news.wait()
        return done()

    @property
    def stream_id(self) -> str:
        return self.id_at(len(self.log))

    def id_at(self, position: int) -> str:
        return f"{self.epoch}-{position}"

    def place_of(self, stream_id: str | None) -> int | None:
        """Where a stream goes on; None where that is not known."""
        if stream_id is None:
            return len(self.log)
        epoch, _, position = stream_id.partition("-")
        return int(position) if epoch == self.epoch and int(position) <= len(self.log) else None

    @contextmanager
    def stream(self) -> Iterator[Callable[[], bool]]:
        """A stream that is open; what it gives says whether anything that is sent still arrives."""
        lost = self.lost
        self.opened += 1
        try:
            yield lambda: lost == self.lost
        finally:
            self.closed += 1

    def lose_streams(self) -> None:
        """Those that are open stay so, and nothing comes of them any more: a router on the way has forgotten them."""
        self.lost += 1

    async def follow(self, at: int) -> AsyncIterator[tuple[int, tuple[str, Any]]]:
        """Every event from there on, with the position after it; `live` when all are told, and now and then."""
        due = 0.0
        with self.stream() as arrives:
            while not self.closing:
                while at < len(self.log) and arrives():
                    at += 1
                    yield at, self.log[at - 1]
                if due < time.monotonic() and arrives():
                    due = time.monotonic() + LIVE_SECONDS
                    yield at, ("live", {})
                async with self._news:
                    await self._news.wait()

    def page(self, limit: int, before: str | None) -> dict[str, Any]:
        ordered = sorted(list(self.published.values()), key=_newest, reverse=True)
        left = [post for post in ordered if before is None or "|".join(_newest(post)) < before]
        following = "|".join(_newest(left[limit - 1])) if len(left) > limit else None
        return {"posts": left[:limit], "next": following, "as_of": now(), "stream_id": self.stream_id}

    def ranking(self) -> dict[str, Any]:
        scored = [{**post, "score": post["likes"] + 2 * post["comments"]} for post in list(self.published.values())]
        best = sorted(scored, key=lambda post: (-post["score"], -post["likes"], post["post_id"]))[:50]
        fields = ("post_id", "user_id", "image_url", "caption", "likes", "comments", "score")
        posts = [
            {"rank": rank, **{name: post[name] for name in fields}}
            for rank, post in enumerate(best, 1)
            if post["score"] > 0
        ]
        return {"window_start": now(60), "window_end": now(), "generated_at": now(), "posts": posts}

    def random_fact(self, chance: random.Random) -> None:
        if chance.random() < 0.02 and self.published:
            like_this = chance.choice(list(self.published.values()))
            self.create_post(chance.choice(DEMO_USERS), like_this["image_url"], caption(chance))
        else:
            self.random_engagement(chance)

    def random_engagement(self, chance: random.Random) -> None:
        if not self.published:
            return
        newest = sorted(self.published, reverse=True)
        post_id = newest[min(int(chance.expovariate(0.12)), len(newest) - 1)]
        user = f"user{chance.randrange(5000)}"
        if chance.random() < 0.8:
            self.like(user, post_id, chance.random() < 0.9)
        else:
            self.add_comment(user, post_id, "nice")


def _newest(post: Post) -> tuple[str, str]:
    return post["created_at"], post["post_id"]
