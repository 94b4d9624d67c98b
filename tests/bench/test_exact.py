"""The count that speed is judged with, against the rules taken literally; and that a wrong count is found."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given

from bench.exact import Count, Sums, newest_rows, wrong_posts
from bench.facts import History, records
from contract.facts import FACT_BY_TYPE
from tests.jobs.histories import Fact, histories
from tests.reference import posts_with_counts

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
COUNTED = ("user_id", "image_url", "caption", "created_at", "likes", "comments")


def counted(facts: Iterable[Fact], partitions: int = 3) -> dict[str, dict[str, Any]]:
    """As `recount` does it: each topic in partitions by post, added up."""
    counts: dict[tuple[str, int], Count] = {}
    for fact in facts:
        place = (FACT_BY_TYPE[fact["event_type"]].topic, sum(fact["post_id"].encode()) % partitions)
        counts.setdefault(place, Count()).take(fact)
    sums = Sums()
    for count in counts.values():
        sums.add(count)
    return sums.posts()


@given(histories())
def test_it_counts_as_the_rules_say(history: list[Fact]) -> None:
    found = {post: {name: row[name] for name in COUNTED} for post, row in counted(history).items()}
    assert found == {post: asdict(row) for post, row in posts_with_counts(history).items()}


@given(histories())
def test_the_version_is_the_number_of_records(history: list[Fact]) -> None:
    for post, row in counted(history).items():
        assert row["version"] == sum(fact["post_id"] == post for fact in history)


def row(likes: int, version: int = 1) -> dict[str, Any]:
    base = {"user_id": "ada", "image_url": "", "caption": "", "created_at": "then", "comments": 0}
    return {**base, "likes": likes, "version": version}


@pytest.mark.parametrize(
    "published",
    [{"p": row(2)}, {"p": row(1, version=2)}, {}, {"p": row(1), "q": row(0)}],
    ids=["a like too many", "another version", "a post is missing", "a post too many"],
)
def test_what_is_wrong_is_found(published: dict[str, Any]) -> None:
    assert len(wrong_posts({"p": row(1)}, published)) == 1


def test_what_is_right_is_not_wrong() -> None:
    assert wrong_posts({"p": row(1)}, {"p": {**row(1), "updated_at": "now"}}) == []


def test_a_reader_keeps_the_highest_version_and_no_deleted_post() -> None:
    told = [("p", row(2, 2)), ("p", row(1, 1)), ("q", row(0)), ("q", None)]
    assert newest_rows(told) == {"p": row(2, 2)}


def test_the_writers_share_a_history_of_just_so_many_facts() -> None:
    history = History(1_000, posts=50, users=30)
    shares = [list(records(history, writer, 3, NOW)) for writer in range(3)]
    assert sum(map(len, shares)) == 1_000
    assert (
        sum(record.topic == "posts" and b"post_created" in record.value for share in shares for record in share) == 50
    )


def test_half_of_the_engagement_can_be_on_one_post() -> None:
    def most(hot: float) -> int:
        history = History(4_000, posts=100, zipf=0, hot=hot)
        keys = [record.key for record in records(history, 0, 1, NOW) if record.topic != "posts"]
        return max(keys.count(key) for key in set(keys))

    assert most(0.0) < 100
    assert 1_700 < most(0.5) < 2_300
