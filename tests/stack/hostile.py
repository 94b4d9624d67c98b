"""Facts that others write straight to the topics, and what a reader of the result topic has at the end."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from conf.kafka import partitions_of, python_options, records_of
from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, format_time, new_event_id
from contract.principals import ADMIN
from contract.topics import POSTS_WITH_COUNTS
from tests import reference

Fact = dict[str, Any]


POSTS, OLD_POSTS = 40, 30


def hostile_facts(seed: int, number: int) -> list[Fact]:
    """Few users and posts over the past hours and month, strangers' deletions, flaps; a fifth delivered again.

    All that is about the last of the posts is of the past 40 minutes, so that some of them rise.
    """
    rnd = random.Random(seed)
    now = datetime.now(timezone.utc)
    facts = [_by_chance(rnd, now) for _ in range(number)]
    again = facts + [rnd.choice(facts) for _ in range(number // 5)]
    rnd.shuffle(again)
    return again


def _by_chance(rnd: random.Random, now: datetime) -> Fact:
    kinds = ["post_created"] * 2 + ["post_liked"] * 6 + ["post_unliked"] * 2 + ["comment_added"] * 3
    event_type = rnd.choice([*kinds, "comment_deleted", "post_deleted"])
    post = rnd.randrange(POSTS)
    if post < OLD_POSTS:
        age = timedelta(days=30) if rnd.random() < 0.1 else timedelta(seconds=rnd.randrange(3 * 3600))
    else:
        age = timedelta(seconds=rnd.randrange(40 * 60))
    user = f"u{rnd.randrange(3 if event_type in ('post_created', 'post_deleted') else 12)}"
    made = fact(event_type, user, f"stack-{post}", occurred_at=format_time(now - age))
    if event_type == "post_created":
        made |= {"image_url": "/favicon.svg", "caption": f"caption {rnd.random()}"}
    if event_type.startswith("comment"):
        made["comment_id"] = f"c{rnd.randrange(3)}"
    if event_type == "comment_added":
        made["text"] = "nice"
    return made


def fact(event_type: str, user: str, post: str, **more: str) -> Fact:
    """Two minutes old, unless more is said."""
    occurred_at = format_time(datetime.now(timezone.utc) - timedelta(minutes=2))
    known = {"event_id": new_event_id(), "event_type": event_type, "occurred_at": occurred_at}
    return {**known, "user_id": user, "post_id": post, **more}


def as_admin(settings: Settings) -> dict[str, Any]:
    """What a client takes that may do everything."""
    return python_options(settings.acting_as(ADMIN))


def write(settings: Settings, facts: list[Fact]) -> None:
    """Straight to the topics, by a producer that is not ours, keyed as the contract says."""
    producer = KafkaProducer(**as_admin(settings), acks="all", linger_ms=5)
    sent = []
    for fact in facts:
        topic = FACT_BY_TYPE[fact["event_type"]].topic
        key = fact["user_id"] if topic == "posts" else fact["post_id"]
        sent.append(producer.send(topic, key=key.encode(), value=json.dumps(fact).encode()))
    for future in sent:
        future.get(timeout=60)
    producer.close()


def read(settings: Settings, topic: str) -> Iterator[Any]:
    """Every record of a topic up to its present end."""
    with closing(KafkaConsumer(**as_admin(settings), auto_offset_reset="earliest")) as consumer:
        yield from records_of(consumer, partitions_of(consumer, [topic]))


def each_second(condition: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, for whoever asks again and again: it reads a whole topic, on a machine with other work."""

    def asked() -> bool:
        time.sleep(1)
        return condition()

    return asked


def in_topic(settings: Settings, prefix: str = "stack-") -> dict[str, reference.Post]:
    """What a reader of `posts_with_counts` has at the end, of the posts whose ids begin so."""
    posts = reference.told((record.key, record.value) for record in read(settings, POSTS_WITH_COUNTS))
    return {post_id: post for post_id, post in posts.items() if post_id.startswith(prefix)}
