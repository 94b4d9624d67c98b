"""The counting rules of the contract, section 2, taken literally: what every test is judged by."""

from collections.abc import Iterable
from dataclasses import dataclass
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
