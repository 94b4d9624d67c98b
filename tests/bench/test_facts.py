"""The history that speed is measured on."""

import json
from datetime import datetime, timezone

import pytest

from bench.facts import History, records
from bench.growth import histories

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


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


def test_the_hot_history_of_growth_has_as_many_pairs_as_the_even_one() -> None:
    def pairs(history: History) -> int:
        facts = [json.loads(record.value) for record in records(history, 0, 1, NOW) if record.topic == "likes"]
        return len({(fact["post_id"], fact["user_id"]) for fact in facts if fact["event_type"] == "post_liked"})

    even, hot = (pairs(history) for history in histories(100_000))
    assert hot == pytest.approx(even, rel=0.01)
