"""Hostile histories: few users and posts, so that everything collides; and how Kafka would deliver them."""

import json
import os
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from contract.facts import FACT_BY_TYPE, format_time

EXAMPLES = int(os.environ.get("HISTORIES", "0"))
Fact = dict[str, Any]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
RECORD = "topic string, partition int, offset long, timestamp timestamp, key binary, value binary"


def hostile(examples: int) -> settings:
    """So many examples, always the same ones; with `HISTORIES=200` in the environment as many, others each time."""
    return settings(
        deadline=None,
        phases=[Phase.generate],  # a stream is too slow to shrink
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        suppress_health_check=list(HealthCheck),
    )


_TYPES = st.sampled_from(
    ["post_created", "post_created", "post_deleted", *["post_liked", "post_unliked"] * 2, "comment_added"] * 2
    + ["comment_deleted"]
)


@st.composite
def facts(draw: st.DrawFn, minutes: st.SearchStrategy[int]) -> Fact:
    """One fact, dated some minutes from noon; event ids collide in time, not with each other."""
    made = fact(
        draw(_TYPES),
        draw(st.uuids()).hex,
        NOON + timedelta(minutes=draw(minutes)),
        draw(st.sampled_from(["ada", "bob", "cy"])),
        draw(st.sampled_from(["p1", "p2", "p3", "p4"])),
    )
    if made["event_type"] == "post_created":
        made |= {
            "image_url": f"/media/{made['event_id']}.jpg",
            "caption": draw(st.sampled_from(["", "hi {", "5", "ü]"])),
        }
    if made["event_type"].startswith("comment"):
        made["comment_id"] = draw(st.sampled_from(["c1", "c2"]))
    return made


def histories(
    minutes: st.SearchStrategy[int] | None = None, min_size: int = 1, max_size: int = 60
) -> st.SearchStrategy[list[Fact]]:
    """Facts in any order, some of them delivered again."""
    some = st.lists(facts(minutes if minutes is not None else st.integers(0, 5)), min_size=min_size, max_size=max_size)
    return some.flatmap(_redelivered)


def _redelivered(history: list[Fact]) -> st.SearchStrategy[list[Fact]]:
    again = st.lists(st.sampled_from(history), max_size=len(history) // 3)
    return again.flatmap(lambda more: st.permutations(history + more))


def several(
    minutes: st.SearchStrategy[int] | None = None, *, min_size: int, max_size: int, at_most: int
) -> st.SearchStrategy[list[Fact]]:
    """Histories beside each other, each with posts of its own, shuffled into one: one run of Spark for all."""
    many = st.lists(histories(minutes, min_size, max_size), min_size=at_most // 2, max_size=at_most)
    return many.map(together).filter(is_lively).flatmap(st.permutations)


def is_lively(history: list[Fact]) -> bool:
    """The first example that is tried is the dullest."""
    return len({fact["event_type"] for fact in history}) == 6 and len({fact["user_id"] for fact in history}) == 3


def together(many: list[list[Fact]]) -> list[Fact]:
    """Histories beside each other, each with posts of its own."""
    return [{**fact, "post_id": f"{fact['post_id']}-{at}"} for at, history in enumerate(many) for fact in history]


def cuts(history: list[Fact], most: int) -> st.SearchStrategy[list[list[Fact]]]:
    """The history in up to `most` micro-batches."""
    places = st.lists(st.integers(0, len(history)), max_size=most - 1, unique=True).map(sorted)
    return places.map(lambda at: [history[a:b] for a, b in zip([0, *at], [*at, len(history)], strict=True) if b > a])


def records(spark: SparkSession, history: list[Fact]) -> DataFrame:
    """The history as Kafka has it, arrived long after everything."""
    return spark.createDataFrame(rows_of(history), RECORD)


def rows_of(history: list[Fact], first_offset: int = 0) -> list[tuple[Any, ...]]:
    """Of these records the rows."""
    arrived = NOON + timedelta(days=30)
    return [
        (
            FACT_BY_TYPE[f["event_type"]].topic,
            0,
            first_offset + at,
            arrived,
            f["post_id"].encode(),
            json.dumps(f).encode(),
        )
        for at, f in enumerate(history)
    ]


def flapping(times: int, batches: int) -> list[list[Fact]]:
    """So often, in so many batches, a user flips a like, a comment, and a post under the id of another's."""
    turns = [("post_liked", "post_unliked"), ("comment_added", "comment_deleted"), ("post_created", "post_deleted")]
    facts = [
        fact(on_and_off[at % 2], f"{on_and_off[0]}-{at:03}", f"12:{10 + at % 50}", "bob", comment_id="c1")
        for at in range(times)
        for on_and_off in turns
    ]
    size = len(facts) // batches
    return [facts[at : at + size] for at in range(0, len(facts), size)]


def fact(event_type: str, event_id: str, at: datetime | str, user: str = "bob", post: str = "p1", **more: str) -> Fact:
    """At a moment, or at a minute of the day that has NOON: 12:01."""
    occurred_at = f"2026-11-20T{at}:00.000Z" if isinstance(at, str) else format_time(at)
    body = {"image_url": "/media/a.jpg", "caption": f"by {user}"} if event_type == "post_created" else {}
    text = {"text": "nice"} if event_type == "comment_added" else {}
    known = {"event_id": event_id, "event_type": event_type, "occurred_at": occurred_at}
    return {**known, "user_id": user, "post_id": post, **body, **text, **more}
