"""The rules of docs/counting.md, taken literally: what every test is judged by."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

Fact = dict[str, Any]


@dataclass(frozen=True)
class Post:
    """A living post as the rules have it."""

    user_id: str
    image_url: str
    caption: str
    created_at: str
    likes: int
    comments: int

    @classmethod
    def of(cls, row: Any) -> "Post":
        """Of anything that has these fields by name: a result, an answer, a row."""
        return cls(*(row[field.name] for field in fields(cls)))


def order(fact: Fact) -> tuple[str, str]:
    return fact["occurred_at"], fact["event_id"]


def likers(facts: list[Fact], post_id: str) -> dict[str, Fact]:
    """Rule 2: a user likes a post if the latest like fact of the two says so."""
    latest: dict[str, Fact] = {}
    for fact in sorted(facts, key=order):
        if fact["post_id"] == post_id and fact["event_type"] in ("post_liked", "post_unliked"):
            latest[fact["user_id"]] = fact
    return {user: fact for user, fact in latest.items() if fact["event_type"] == "post_liked"}


def comments(facts: list[Fact], post_id: str) -> dict[tuple[str, str], Fact]:
    """Rule 3: a comment stands once added, until its own author deletes it, which is final."""
    of_post = [fact for fact in facts if fact["post_id"] == post_id]
    gone = {(f["comment_id"], f["user_id"]) for f in of_post if f["event_type"] == "comment_deleted"}
    added: dict[tuple[str, str], Fact] = {}
    for fact in sorted(of_post, key=order):
        if fact["event_type"] == "comment_added":
            added.setdefault((fact["comment_id"], fact["user_id"]), fact)
    return {key: fact for key, fact in added.items() if key not in gone}


def creation(facts: list[Fact], post_id: str) -> Fact | None:
    """Rule 4: the earliest creation is the post; its own author's deletion is final."""
    of_post = sorted((fact for fact in facts if fact["post_id"] == post_id), key=order)
    created = next((fact for fact in of_post if fact["event_type"] == "post_created"), None)
    if created is None:
        return None
    deleted = any(f["event_type"] == "post_deleted" and f["user_id"] == created["user_id"] for f in of_post)
    return None if deleted else created


def posts_with_counts(records: Iterable[Fact]) -> dict[str, Post]:
    """Rules 1, 5 and 6: every fact once, whenever it came; nothing of a post that is not known."""
    facts = list({fact["event_id"]: fact for fact in records}.values())
    created = {post_id: creation(facts, post_id) for post_id in {fact["post_id"] for fact in facts}}
    return {
        post_id: Post(
            post["user_id"],
            post["image_url"],
            post["caption"],
            post["occurred_at"],
            len(likers(facts, post_id)),
            len(comments(facts, post_id)),
        )
        for post_id, post in created.items()
        if post is not None
    }


def told(records: Iterable[tuple[bytes, bytes | None]]) -> dict[str, Post]:
    """What a reader of (key, value) of `posts_with_counts` has in the end: docs/contract.md."""
    posts: dict[str, dict[str, Any]] = {}
    for key, value in records:
        post_id, post = key.decode(), json.loads(value or "null")
        if post is None:
            posts.pop(post_id, None)
        elif post["version"] > posts.get(post_id, {"version": -1})["version"]:
            posts[post_id] = post
    return {post_id: Post.of(post) for post_id, post in posts.items()}


@dataclass(frozen=True)
class Ranked:
    """A place of a ranking."""

    post_id: str
    likes: int
    comments: int
    score: int


def trending(records: Iterable[Fact], end: datetime, top: int = 50) -> list[Ranked]:
    """The hour before `end`; what stands is judged by the facts dated from an hour before the last minute's hour."""
    facts = list({fact["event_id"]: fact for fact in records}.values())
    judged_from = (end - timedelta(minutes=1)).replace(minute=0) - timedelta(hours=1)
    judging = [fact for fact in facts if moment(fact) >= judged_from]

    def in_window(fact: Fact, _: Fact) -> bool:
        return end - timedelta(hours=1) <= moment(fact) < end

    return _ranked(facts, judging, in_window, top)


def rising(records: Iterable[Fact], end: datetime, top: int = 50) -> list[Ranked]:
    """Posts born in the hour before `end`, by engagement dated within the first hour of their life."""
    facts = list({fact["event_id"]: fact for fact in records}.values())

    def in_first_hour(fact: Fact, post: Fact) -> bool:
        is_young = end - timedelta(hours=1) <= moment(post) < end
        return is_young and moment(post) <= moment(fact) < moment(post) + timedelta(hours=1)

    return _ranked(facts, facts, in_first_hour, top, since_birth=True)


def _ranked(
    facts: list[Fact],
    judging: list[Fact],
    counts: Callable[[Fact, Fact], bool],
    top: int,
    since_birth: bool = False,
) -> list[Ranked]:
    ranking = []
    for post_id in {fact["post_id"] for fact in facts}:
        post = creation(facts, post_id)
        if post is None:
            continue
        judges = [f for f in judging if not since_birth or moment(f) >= moment(post)]
        likes = sum(counts(fact, post) for fact in likers(judges, post_id).values())
        added = sum(counts(fact, post) for fact in comments(judges, post_id).values())
        if likes + 2 * added > 0:
            ranking.append(Ranked(post_id, likes, added, likes + 2 * added))
    return sorted(ranking, key=lambda place: (-place.score, -place.likes, place.post_id))[:top]


def moment(fact: Fact) -> datetime:
    return datetime.fromisoformat(fact["occurred_at"].replace("Z", "+00:00"))
