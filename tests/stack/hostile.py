"""Facts that others write straight to the topics, and what a reader of the result topic has at the end."""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from conf.kafka import python_security
from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, format_time, new_event_id
from contract.principals import ADMIN
from tests import reference

Fact = dict[str, Any]


def hostile_facts(seed: int, number: int) -> list[Fact]:
    """Few users and posts over the past hours and month, strangers' deletions, flaps; a fifth delivered again."""
    rnd = random.Random(seed)
    now = datetime.now(timezone.utc)
    facts = [_fact(rnd, now) for _ in range(number)]
    again = facts + [rnd.choice(facts) for _ in range(number // 5)]
    rnd.shuffle(again)
    return again


def _fact(rnd: random.Random, now: datetime) -> Fact:
    kinds = ["post_created"] * 2 + ["post_liked"] * 6 + ["post_unliked"] * 2 + ["comment_added"] * 3
    event_type = rnd.choice([*kinds, "comment_deleted", "post_deleted"])
    age = timedelta(days=30) if rnd.random() < 0.1 else timedelta(seconds=rnd.randrange(3 * 3600))
    post = f"stack-{rnd.randrange(40)}"
    user = f"u{rnd.randrange(3 if event_type in ('post_created', 'post_deleted') else 12)}"
    fact = {"event_id": new_event_id(), "event_type": event_type, "occurred_at": format_time(now - age)}
    fact |= {"user_id": user, "post_id": post}
    if event_type == "post_created":
        fact |= {"image_url": "/favicon.svg", "caption": f"caption {rnd.random()}"}
    if event_type.startswith("comment"):
        fact["comment_id"] = f"c{rnd.randrange(3)}"
    if event_type == "comment_added":
        fact["text"] = "nice"
    return fact


def as_admin(settings: Settings) -> dict[str, Any]:
    """What a client takes besides the brokers, where they ask who one is."""
    return python_security(settings.acting_as(ADMIN))


def write(settings: Settings, facts: list[Fact]) -> None:
    """Straight to the topics, by a producer that is not ours, keyed as the contract says."""
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=5, **as_admin(settings))
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
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest", **as_admin(settings))
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=200).values():
                yield from records
    finally:
        consumer.close()


def in_topic(settings: Settings) -> dict[str, reference.Post]:
    """What a reader of `posts_with_counts` has at the end; one that sees a version go back is wrong."""
    posts: dict[str, dict[str, Any]] = {}
    for record in read(settings, "posts_with_counts"):
        post_id = record.key.decode()
        if record.value is None:
            posts.pop(post_id, None)
            continue
        post = json.loads(record.value)
        if post["version"] > posts.get(post_id, {"version": 0})["version"]:
            posts[post_id] = post
    return {post_id: as_post(post) for post_id, post in posts.items() if post_id.startswith("stack-")}


def as_post(post: dict[str, Any]) -> reference.Post:
    fields = ("user_id", "image_url", "caption", "created_at", "likes", "comments")
    return reference.Post(*(post[name] for name in fields))
