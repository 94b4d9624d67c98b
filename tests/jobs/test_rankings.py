"""Trending and rising posts are what the contract says at any moment, from any stream."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.transforms.facts import facts as judged
from jobs.transforms.facts import valid
from jobs.transforms.panes import dated_acts, first_hour_engagement, minute_panes, summed
from jobs.transforms.ranking import PastHour, Score, best, living, rising, scored, trending
from jobs.trending_posts import FIRST_HOUR, PANES
from tests import reference
from tests.jobs.histories import NOON, Fact, cuts, hostile, records, several
from tests.jobs.streams import CutStream

pytestmark = pytest.mark.spark
POSTS = ("post_created", "post_deleted")
SCORE = Score(like_weight=1, comment_weight=2, top=50)


@pytest.fixture
def chained(spark: SparkSession) -> Any:
    """The job's own session settings."""
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", "false")
    spark.conf.set("spark.sql.streaming.multipleWatermarkPolicy", "max")
    yield spark
    spark.conf.unset("spark.sql.streaming.unsupportedOperationCheck")
    spark.conf.unset("spark.sql.streaming.multipleWatermarkPolicy")


def panes(records: DataFrame) -> DataFrame:
    engagement = records.where("topic != 'posts'").transform(judged).transform(valid)
    return engagement.transform(dated_acts).transform(minute_panes)


def first_hours(records: DataFrame) -> DataFrame:
    created = records.where("topic = 'posts'").transform(judged).transform(valid)
    born = F.col("occurred_at").cast("timestamp").alias("born")
    dated = records.where("topic != 'posts'").transform(judged).transform(valid).transform(dated_acts)
    return first_hour_engagement(created.where("event_type = 'post_created'").select("post_id", born), dated)


def streamed(
    spark: SparkSession,
    folder: Path,
    batches: list[list[Fact]],
    frames: Callable[[DataFrame], DataFrame],
    keys: list[str],
) -> list[Row]:
    """The changes that a stream appends, restarted in the middle."""
    changes: list[Row] = []
    stream = CutStream(spark, folder)
    for part in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        for batch in part:
            stream.add(batch)
        if part:
            stream.run(frames, lambda batch, _: changes.extend(summed(batch, *keys).collect()))
    return changes


def places(spark: SparkSession, engagement: DataFrame, history: list[Fact]) -> list[reference.Ranked]:
    posts = records(spark, history).where("topic = 'posts'").transform(judged).transform(valid)
    boards = best(engagement.transform(scored, SCORE), partial(living, posts), SCORE.top)
    return [
        reference.Ranked(row.post_id, row.likes, row.comments, row.score) for rows in boards.values() for row in rows
    ]


def test_more_candidates_are_looked_up_where_too_few_of_the_foremost_live(spark: SparkSession) -> None:
    """Nine posts of which the smallest is the least, one place, and only two of them live."""
    names = [f"p{n}" for n in range(9)]
    posts = [fact("post_created", f"e{name}", NOON) | {"post_id": name, "user_id": "ada"} for name in names]
    gone = [
        fact("post_deleted", f"d{name}", NOON) | {"post_id": name, "user_id": "ada"}
        for name in names
        if name not in ("p1", "p3")
    ]
    rows = [("trending", name, None, likes, 0) for likes, name in enumerate(names, 1)]
    candidates = spark.createDataFrame(rows, "board string, post_id string, born timestamp, likes long, comments long")
    facts = records(spark, posts + gone).transform(judged).transform(valid)
    found = best(candidates.transform(scored, SCORE), partial(living, facts), top=1)
    assert [(post.post_id, post.rank, post.likes) for post in found["trending"]] == [("p3", 1, 4)]
    found = best(candidates.transform(scored, SCORE), partial(living, facts), top=3)
    assert [(post.post_id, post.rank, post.likes) for post in found["trending"]] == [("p3", 1, 4), ("p1", 2, 2)]


def trending_of(spark: SparkSession, changes: list[Row], history: list[Fact], end: datetime) -> list[reference.Ranked]:
    engagement = spark.createDataFrame(changes, PANES).transform(trending, PastHour(end))
    return places(spark, engagement, history)


def rising_of(spark: SparkSession, changes: list[Row], history: list[Fact], end: datetime) -> list[reference.Ranked]:
    engagement = spark.createDataFrame(changes, FIRST_HOUR).transform(rising, PastHour(end))
    return places(spark, engagement, history)


@hostile(3)
@given(data=st.data())
def test_any_stream_trends_as_the_contract_says(
    chained: SparkSession, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dates = st.one_of(st.integers(-130, 69), st.sampled_from([-60, -1, 0, 1, 4, 59, 60, 64]))
    history = data.draw(several(dates, min_size=20, max_size=60, at_most=6))
    batches = data.draw(cuts(history, most=4))
    changes = streamed(chained, tmp_path_factory.mktemp("panes"), batches, panes, ["judged_from", "post_id", "minute"])
    for minutes in (0, 1, data.draw(st.integers(2, 59)), 60, 61):
        end = NOON + timedelta(minutes=minutes)
        known = known_by(history, end)
        assert trending_of(chained, changes, history, end) == reference.trending(known, end), end


def known_by(history: list[Fact], end: datetime) -> list[Fact]:
    """Posts, and the engagement that can have arrived in the hour of the last minute: five minutes ahead at most."""
    latest = (end - timedelta(minutes=1)).replace(minute=0) + timedelta(minutes=65)
    return [fact for fact in history if fact["event_type"] in POSTS or reference.moment(fact) < latest]


@hostile(3)
@given(data=st.data())
def test_any_stream_rises_as_the_contract_says(
    chained: SparkSession, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    history = data.draw(several(st.integers(-62, 15), min_size=20, max_size=60, at_most=6))
    batches = data.draw(cuts(history, most=4))
    changes = streamed(chained, tmp_path_factory.mktemp("rising"), batches, first_hours, ["born", "post_id"])
    for minutes in (11, 16):
        end = NOON + timedelta(minutes=minutes)
        assert rising_of(chained, changes, history, end) == reference.rising(history, end), end


def fact(event_type: str, event_id: str, at: datetime, user: str = "bob") -> Fact:
    body = {"image_url": "/media/a.jpg", "caption": "a"} if event_type == "post_created" else {}
    occurred_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "event_id": event_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        "user_id": user,
        "post_id": "p1",
    } | body


def test_a_like_taken_back_ahead_of_the_clock_no_longer_counts_in_the_hour_before(
    chained: SparkSession, tmp_path: Path
) -> None:
    history = [
        fact("post_created", "e0", NOON - timedelta(hours=5), "ada"),
        fact("post_liked", "e1", NOON - timedelta(minutes=10)),
        fact("post_unliked", "e2", NOON + timedelta(minutes=3)),
    ]
    changes = streamed(chained, tmp_path, [history[:2], history[2:]], panes, ["judged_from", "post_id", "minute"])
    assert trending_of(chained, changes, history, NOON) == [] == reference.trending(history, NOON)


def test_state_leaves_with_the_watermark(chained: SparkSession, tmp_path: Path) -> None:
    stream = CutStream(chained, tmp_path)
    stream.add([fact("post_liked", f"a{number}", NOON, f"u{number}") for number in range(40)])
    stream.add([fact("post_liked", "b", NOON + timedelta(hours=9))])
    stream.add([fact("post_liked", "c", NOON + timedelta(hours=9, minutes=1))])
    query = stream.run(panes, lambda batch, _: batch.collect() and None)
    assert query.lastProgress is not None
    assert all(operator.numRowsTotal <= 6 for operator in query.lastProgress.stateOperators)


def test_a_fact_older_than_the_watermark_is_left_out_without_harm(chained: SparkSession, tmp_path: Path) -> None:
    late = fact("post_liked", "late", NOON - timedelta(days=30), "cy")
    batches = [[fact("post_created", "e0", NOON, "ada")], [fact("post_liked", "e1", NOON)], [late]]
    changes = streamed(chained, tmp_path, batches, panes, ["judged_from", "post_id", "minute"])
    history = [fact for batch in batches for fact in batch]
    end = NOON + timedelta(minutes=1)
    assert trending_of(chained, changes, history, end) == reference.trending(history, end)
