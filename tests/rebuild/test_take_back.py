"""What is appended to erase a user: by the rules nothing of the user stands after it, and everything of others does."""

from datetime import datetime, timedelta, timezone
from unittest.mock import Mock

import pytest
from hypothesis import given
from pyspark.sql import SparkSession

from conf.settings import Settings
from contract.facts import PostUnliked, format_time, parse_time
from jobs import erasure
from jobs.erasure import is_about, pictures_of, take_back
from jobs.transforms.facts import facts, valid
from runtime import forget
from tests import reference
from tests.jobs.histories import NOON, Fact, fact, histories, hostile, records

pytestmark = pytest.mark.spark
NOW = NOON + timedelta(minutes=3)
"""In the middle of the histories: some facts are dated after it."""


def back(spark: SparkSession, history: list[Fact], now: datetime = NOW) -> list[Fact]:
    known = records(spark, history).transform(facts).transform(valid)
    return [fact.model_dump() for fact in take_back(known, "ada", now)]


@hostile(8)
@given(history=histories(max_size=80))
def test_after_it_nothing_of_the_user_stands_and_everything_of_others_does(
    spark: SparkSession, history: list[Fact]
) -> None:
    erased = [*history, *back(spark, history)]
    left = reference.posts_with_counts(erased)
    others = reference.posts_with_counts(fact for fact in history if fact["user_id"] != "ada")
    assert all(post.user_id != "ada" for post in left.values())
    before = reference.posts_with_counts(history)
    assert left.keys() >= {post_id for post_id, post in before.items() if post.user_id != "ada"}
    assert {post_id: (post.likes, post.comments) for post_id, post in left.items()} == {
        post_id: (others[post_id].likes, others[post_id].comments) for post_id in left
    }
    assert back(spark, erased) == []


def test_a_like_dated_ahead_of_the_clock_is_taken_back_after_it(spark: SparkSession) -> None:
    like = fact("post_liked", "e1", NOON + timedelta(minutes=4, seconds=59.999), "ada")
    taken = back(spark, [like], NOON)
    assert [(fact["event_type"], fact["post_id"]) for fact in taken] == [("post_unliked", "p1")]
    assert parse_time(taken[0]["occurred_at"]) > parse_time(like["occurred_at"])


@pytest.mark.parametrize(("kind", "more"), [("post_created", {}), ("comment_added", {"comment_id": "c1"})])
def test_a_deletion_is_never_too_far_ahead_to_count(spark: SparkSession, kind: str, more: dict[str, str]) -> None:
    far = fact(kind, "e1", NOON + timedelta(hours=1), "ada", **more)
    known = records(spark, [far]).transform(facts).transform(valid)
    (taken,) = take_back(known, "ada", NOON)
    assert NOON <= parse_time(taken.occurred_at) < NOON + timedelta(minutes=5)


@pytest.mark.kafka
@pytest.mark.parametrize(("minutes", "counts"), [(4, True), (6, False)])
def test_what_would_not_count_erases_nothing(
    kafka: Settings, minutes: int, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    back = PostUnliked(event_id="e1", occurred_at=format_time(at), user_id="ada", post_id="p1")
    monkeypatch.setattr(erasure, "take_back", lambda *_: iter([back]))
    if counts:
        assert forget._publish(Mock(), kafka, "ada") == 1
    else:
        with pytest.raises(SystemExit, match=r"from the future: .* or try again in (59|60) s"):
            forget._publish(Mock(), kafka, "ada")


def test_a_picture_that_somebody_else_posted_too_stays(spark: SparkSession) -> None:
    posted = [
        ("ada", "/media/own.jpg"),
        ("ada", "/media/own.jpg"),
        ("ada", "https://here.example/media/own.jpg"),
        ("ada", "/media/both.jpg"),
        ("bob", "/media/both.jpg"),
        ("ada", "/media/linked.jpg"),
        ("bob", "https://here.example/media/linked.jpg?size=small"),
        ("bob", "/media/his.jpg"),
        ("cy", "/media/hers.jpg"),
        ("ada", "https://here.example/media/hers.jpg"),  # by its address: she uploaded nothing
        ("ada", "https://else.where/media/never.jpg"),
        ("ada", "https://else.where/a.jpg"),
    ]
    history = [
        fact("post_created", f"e{number}", NOON, user, f"p{number}", image_url=address)
        for number, (user, address) in enumerate(posted)
    ]
    known = records(spark, history).transform(facts).transform(valid)
    assert pictures_of(known, "ada") == ["own.jpg"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b'{"user_id": "ada"', True),
        (b"ada", True),
        (b"\xff ada \xfe", True),
        (rb'{"user_id": 7, "caption": "by\nada"}', True),
        (rb'{"value": "{\"caption\": \"by\\u000aada\"}"}', True),
        (b"p1\tada\tliked", True),
        (b"canada", False),
        (b"ada-2", False),
        (None, False),
    ],
)
def test_what_is_no_fact_names_a_user_only_as_a_whole_word(
    spark: SparkSession, value: bytes | None, named: bool
) -> None:
    frame = spark.createDataFrame([(b"key", value), (value, b"{}")], "key binary, value binary")
    assert [row[0] for row in frame.select(is_about("ada", frame.key, frame.value)).collect()] == [named, named]
