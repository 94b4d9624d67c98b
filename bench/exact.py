"""Counts the facts by the contract's rules, in plain Python, and compares what was published: wrong is not fast.

Shares nothing with the jobs. It takes every record for a fact, as those are that `bench.facts` writes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from bench.facts import WRITERS
from bench.measures import Measure
from conf.kafka import python_security
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.principals import ADMIN
from contract.topics import POSTS_WITH_COUNTS

Order = tuple[str, str]
Row = dict[str, Any]
SAID = ("user_id", "image_url", "caption", "created_at", "likes", "comments", "version")


@dataclass
class Count:
    """What stands of the records of one partition; a key is in one partition, so the counts of several add up."""

    likes: dict[tuple[str, str], tuple[Order, bool]] = field(default_factory=dict)
    added: set[tuple[str, str, str]] = field(default_factory=set)
    deleted: set[tuple[str, str, str]] = field(default_factory=set)
    created: dict[str, tuple[Order, Row]] = field(default_factory=dict)
    removed: set[tuple[str, str]] = field(default_factory=set)
    records: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, fact: Row) -> None:
        """Rules 1 to 4 of the contract, section 2."""
        kind, post, user = fact["event_type"], fact["post_id"], fact["user_id"]
        order = (fact["occurred_at"], fact["event_id"])
        self.records[post] += 1
        if kind in ("post_liked", "post_unliked"):
            known = self.likes.get((post, user))
            if known is None or order > known[0]:
                self.likes[post, user] = (order, kind == "post_liked")
        elif kind == "comment_added":
            self.added.add((post, user, fact["comment_id"]))
        elif kind == "comment_deleted":
            self.deleted.add((post, user, fact["comment_id"]))
        elif kind == "post_created":
            if post not in self.created or order < self.created[post][0]:
                self.created[post] = (order, fact)
        else:
            self.removed.add((post, user))

    def likes_of_posts(self) -> dict[str, int]:
        return _tally(post for (post, _), (_, stands) in self.likes.items() if stands)

    def comments_of_posts(self) -> dict[str, int]:
        return _tally(post for post, _, _ in self.added - self.deleted)


@dataclass
class Sums:
    """The counts of all partitions."""

    likes: dict[str, int] = field(default_factory=dict)
    comments: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    created: dict[str, tuple[Order, Row]] = field(default_factory=dict)
    removed: set[tuple[str, str]] = field(default_factory=set)

    def add(self, count: Count) -> None:
        for mine, theirs in (
            (self.likes, count.likes_of_posts()),
            (self.comments, count.comments_of_posts()),
            (self.records, count.records),
        ):
            for post, number in theirs.items():
                mine[post] = mine.get(post, 0) + number
        for post, creation in count.created.items():
            self.created[post] = min(self.created.get(post, creation), creation, key=lambda one: one[0])
        self.removed |= count.removed

    def posts(self) -> dict[str, Row]:
        """The living posts, as they must be published."""
        return {
            post: {
                **{name: fact[name] for name in ("user_id", "image_url", "caption")},
                "created_at": fact["occurred_at"],
                "likes": self.likes.get(post, 0),
                "comments": self.comments.get(post, 0),
                "version": self.records[post],
            }
            for post, (_, fact) in self.created.items()
            if (post, fact["user_id"]) not in self.removed
        }


def _tally(posts: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for post in posts:
        counts[post] += 1
    return dict(counts)


def wrong_posts(expected: dict[str, Row], published: dict[str, Row]) -> list[str]:
    """Posts that are missing, too many, or say something else."""
    said = {post: {name: row.get(name) for name in SAID} for post, row in published.items()}
    return sorted(post for post in expected.keys() | said.keys() if expected.get(post) != said.get(post))


def newest_rows(records: Iterable[tuple[str, Row | None]]) -> dict[str, Row]:
    """What a reader of the topic has: of each post the row with the highest version, and no deleted one."""
    rows: dict[str, Row] = {}
    gone = set()
    for post, row in records:
        if row is None:
            gone.add(post)
        elif row["version"] > rows.get(post, {"version": -1})["version"]:
            rows[post] = row
            gone.discard(post)
    return {post: row for post, row in rows.items() if post not in gone}


def recount(settings: Settings) -> dict[str, Row]:
    """Every fact in Kafka now, counted in several processes."""
    sums = Sums()
    with ProcessPoolExecutor(WRITERS, get_context("spawn")) as pool:
        places = [(topic, number) for topic in FACT_TOPICS for number in _partitions(settings, topic)]
        for count in pool.map(_count_partition, [settings] * len(places), places):
            sums.add(count)
    return sums.posts()


def published(settings: Settings) -> dict[str, Row]:
    """What the topic of the counts says now."""
    rows: dict[str, Row] = {}
    for number in _partitions(settings, POSTS_WITH_COUNTS):
        found = _records(settings, POSTS_WITH_COUNTS, number)
        rows |= newest_rows((key.decode(), json.loads(value) if value else None) for key, value in found)
    return rows


def exact(settings: Settings) -> Measure:
    """How many posts are wrong; a run whose number is not 0 has failed."""
    expected = recount(settings)
    wrong = wrong_posts(expected, published(settings))
    how = f"of {len(expected):,} posts, published against counted by plain Python"
    return Measure("counts.wrong_posts", "posts", len(wrong), f"{how}; {', '.join(wrong[:3])}" if wrong else how)


def _count_partition(settings: Settings, place: tuple[str, int]) -> Count:
    count = Count()
    for _, value in _records(settings, *place):
        count.take(json.loads(value))
    return count


def _records(settings: Settings, topic: str, number: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every record that the partition holds now."""
    place = TopicPartition(topic, number)
    with closing(_consumer(settings)) as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        while consumer.position(place) < end:
            for batch in consumer.poll(timeout_ms=200).values():
                for record in batch:
                    if record.offset < end:
                        yield record.key, record.value


def _partitions(settings: Settings, topic: str) -> list[int]:
    with closing(_consumer(settings)) as consumer:
        return sorted(consumer.partitions_for_topic(topic))


def _consumer(settings: Settings) -> KafkaConsumer:
    security = python_security(settings.acting_as(ADMIN))
    return KafkaConsumer(
        bootstrap_servers=settings.bootstrap.split(","),
        enable_auto_commit=False,
        check_crcs=False,  # in pure Python it takes longer than all the rest
        isolation_level="read_committed",
        max_poll_records=10_000,
        **security,
    )
