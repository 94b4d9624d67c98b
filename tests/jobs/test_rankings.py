"""Trending and rising posts are what the contract says at any moment, from any stream."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from chispa import assert_df_equality
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.transforms.facts import facts as judged
from jobs.transforms.facts import valid
from jobs.transforms.panes import (
    ENGAGEMENT,
    PANE,
    as_judged,
    as_kept,
    dated_acts,
    first_hour_engagement,
    minute_panes,
    summed,
)
from jobs.transforms.ranking import LOOKED_AT, PastHour, Score, added, best, living, rising, scored, trending
from jobs.trending_posts import FIRST_HOUR, PANES
from tests import reference
from tests.jobs.histories import NOON, Fact, cuts, fact, flapping, hostile, records, several
from tests.jobs.streams import CutStream, state_after

pytestmark = pytest.mark.spark
POSTS = ("post_created", "post_deleted")
SCORE = Score(like_weight=1, comment_weight=2, top=50)


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


def posts_of(spark: SparkSession, history: list[Fact]) -> DataFrame:
    posts = records(spark, history).where("topic = 'posts'").transform(judged).transform(valid)
    return posts.localCheckpoint()  # rankings look things up in it, over and over


def places(engagement: DataFrame, posts: DataFrame) -> list[reference.Ranked]:
    boards = best(engagement.transform(scored, SCORE), partial(living, posts), lambda: posts, SCORE.top)
    return [
        reference.Ranked(row.post_id, row.likes, row.comments, row.score) for rows in boards.values() for row in rows
    ]


def test_more_candidates_are_looked_up_where_too_few_of_the_foremost_live(spark: SparkSession) -> None:
    """Nine posts of which the smallest is the least, one place, and only two of them live."""
    names = [f"p{n}" for n in range(9)]
    posts = [fact("post_created", f"e{name}", NOON, "ada", name) for name in names]
    gone = [fact("post_deleted", f"d{name}", NOON, "ada", name) for name in names if name not in ("p1", "p3")]
    rows = [("trending", name, None, likes, 0) for likes, name in enumerate(names, 1)]
    candidates = spark.createDataFrame(rows, "board string, post_id string, born timestamp, likes long, comments long")
    facts = records(spark, posts + gone).transform(judged).transform(valid)
    found = best(candidates.transform(scored, SCORE), partial(living, facts), lambda: facts, top=1)
    assert [(post.post_id, post.rank, post.likes) for post in found["trending"]] == [("p3", 1, 4)]
    found = best(candidates.transform(scored, SCORE), partial(living, facts), lambda: facts, top=3)
    assert [(post.post_id, post.rank, post.likes) for post in found["trending"]] == [("p3", 1, 4), ("p1", 2, 2)]


def test_however_many_posts_that_there_are_not_are_liked_few_are_looked_up(spark: SparkSession) -> None:
    """A thousand of them above two that live, of which one rises since another moment than its own birth."""
    names = {f"p{n}": 1 + n for n in range(2)} | {f"none{n}": 1_000 + n for n in range(1_000)}
    born = {"p0": NOON, "p1": NOON - timedelta(minutes=1)}
    rows = [("trending", name, None, likes, 0) for name, likes in names.items()]
    rows += [("rising", name, born.get(name, NOON), likes, 0) for name, likes in names.items()]
    schema = "board string, post_id string, born timestamp, likes long, comments long"
    posts = [fact("post_created", f"e{name}", NOON, "ada", name) for name in ("p0", "p1")]
    facts = records(spark, posts).transform(judged).transform(valid)
    looked_up: list[int] = []

    def look_up(post_ids: set[str]) -> Mapping[str, Row]:
        looked_up.append(len(post_ids))
        return living(facts, post_ids)

    found = best(spark.createDataFrame(rows, schema).transform(scored, SCORE), look_up, lambda: facts, top=2)
    assert [post.post_id for post in found["trending"]] == ["p1", "p0"]
    assert [post.post_id for post in found["rising"]] == ["p0"]
    assert max(looked_up) <= 2 * LOOKED_AT * 2


def test_parts_of_the_changes_add_up_to_what_all_of_them_say(spark: SparkSession) -> None:
    """One post is in both parts, one in either, one an hour too early, and one is judged from another hour."""
    hour, minute = PastHour(NOON), NOON - timedelta(minutes=1)
    early = hour.start - timedelta(minutes=1)
    one = [(hour.judged_from, "a", minute, 3, 1), (hour.judged_from, "b", minute, 1, 0), (NOON, "a", minute, 9, 9)]
    other = [(hour.judged_from, "a", minute, -1, 2), (hour.judged_from, "c", minute, 0, 1)]
    parts = [spark.createDataFrame(rows, PANES) for rows in (one, [*other, (hour.judged_from, "d", early, 1, 1)])]
    wanted = spark.createDataFrame(
        [("trending", "a", None, 2, 3), ("trending", "b", None, 1, 0), ("trending", "c", None, 0, 1)],
        "board string not null, post_id string, born timestamp, likes long, comments long",
    )
    assert_df_equality(added(*(part.transform(trending, hour) for part in parts)), wanted, ignore_row_order=True)


def trending_of(spark: SparkSession, changes: list[Row], posts: DataFrame, end: datetime) -> list[reference.Ranked]:
    engagement = spark.createDataFrame(changes, PANES).transform(trending, PastHour(end))
    return places(engagement, posts)


def rising_of(spark: SparkSession, changes: list[Row], posts: DataFrame, end: datetime) -> list[reference.Ranked]:
    engagement = spark.createDataFrame(changes, FIRST_HOUR).transform(rising, PastHour(end))
    return places(engagement, posts)


@hostile(3)
@given(data=st.data())
def test_any_stream_trends_as_the_contract_says(
    chained: SparkSession, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dates = st.one_of(st.integers(-130, 69), st.sampled_from([-60, -1, 0, 1, 4, 59, 60, 64]))
    history = data.draw(several(dates, min_size=20, max_size=60, at_most=6))
    batches = data.draw(cuts(history, most=4))
    changes = streamed(chained, tmp_path_factory.mktemp("panes"), batches, panes, ["judged_from", "post_id", "minute"])
    posts = posts_of(chained, history)
    for minutes in (0, 1, data.draw(st.integers(2, 59)), 60, 61):
        end = NOON + timedelta(minutes=minutes)
        known = known_by(history, end)
        assert trending_of(chained, changes, posts, end) == reference.trending(known, end), end


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
    posts = posts_of(chained, history)
    for minutes in (11, 16):
        end = NOON + timedelta(minutes=minutes)
        assert rising_of(chained, changes, posts, end) == reference.rising(history, end), end


def test_flapping_costs_no_state_of_the_panes(chained: SparkSession, tmp_path: Path) -> None:
    few = state_after(chained, tmp_path / "few", panes, flapping(20, 3))
    assert few == state_after(chained, tmp_path / "many", panes, flapping(200, 6)) != []


def test_a_like_taken_back_ahead_of_the_clock_no_longer_counts_in_the_hour_before(
    chained: SparkSession, tmp_path: Path
) -> None:
    history = [
        fact("post_created", "e0", NOON - timedelta(hours=5), "ada"),
        fact("post_liked", "e1", NOON - timedelta(minutes=10)),
        fact("post_unliked", "e2", NOON + timedelta(minutes=3)),
    ]
    changes = streamed(chained, tmp_path, [history[:2], history[2:]], panes, ["judged_from", "post_id", "minute"])
    assert trending_of(chained, changes, posts_of(chained, history), NOON) == [] == reference.trending(history, NOON)


def test_a_like_taken_back_ahead_of_the_clock_no_longer_counts_in_the_first_hour(
    chained: SparkSession, tmp_path: Path
) -> None:
    """The last moment at which a post is young, and the last at which a fact can be dated then: five minutes ahead."""
    born, end = NOON + timedelta(seconds=1), NOON + timedelta(hours=1)
    taken_back = end + timedelta(minutes=5, seconds=59)
    history = [
        fact("post_created", "e0", born, "ada"),
        fact("post_liked", "e1", NOON + timedelta(minutes=50)),
        fact("post_liked", "e2", NOON + timedelta(minutes=50), "cy"),
        fact("post_unliked", "e3", taken_back),
    ]
    changes = streamed(chained, tmp_path, [history[:3], history[3:]], first_hours, ["born", "post_id"])
    (young,) = rising_of(chained, changes, posts_of(chained, history), end)
    assert [young] == reference.rising(history, end)
    assert young.likes == 1


def test_all_that_is_kept_of_a_minute_adds_up_to_what_stands(chained: SparkSession, tmp_path: Path) -> None:
    history = [
        fact("post_liked", "e0", "12:02", "ada"),  # judged in three windows
        fact("post_liked", "e1", "12:10", "bob"),
        fact("post_unliked", "e2", "12:20", "bob"),
        fact("post_liked", "e3", "11:50", "cy"),
        fact("post_liked", "e4", "12:01", "cy"),
        fact("comment_added", "e5", "12:30", comment_id="c1"),
        fact("comment_added", "e6", "11:40", comment_id="c2"),
        fact("comment_deleted", "e7", "12:31", comment_id="c2"),
    ]
    batches = [history[:2], history[2:4], history[4:]]
    changes = streamed(chained, tmp_path, batches, panes, [*PANE])
    kept = chained.createDataFrame(changes, PANES).transform(as_kept)
    sums = kept.groupBy("minute").agg(*(F.sum(name).alias(name) for name in ENGAGEMENT)).where("likes + comments != 0")
    minute = F.date_format("minute", "HH:mm").alias("minute")
    found = {(row.minute, row.likes, row.comments) for row in sums.select(minute, *ENGAGEMENT).collect()}
    assert found == {("12:01", 1, 0), ("12:02", 1, 0), ("12:30", 0, 1)}
    assert sorted(kept.transform(as_judged).collect()) == sorted(chained.createDataFrame(changes, PANES).collect())


def test_state_leaves_with_the_watermark(chained: SparkSession, tmp_path: Path) -> None:
    stream = CutStream(chained, tmp_path)
    stream.add([fact("post_liked", f"a{number}", NOON, f"u{number}") for number in range(40)])
    stream.add([fact("post_liked", "b", NOON + timedelta(hours=9))])
    stream.add([fact("post_liked", "c", NOON + timedelta(hours=9, minutes=1))])
    query = stream.run(panes, lambda batch, _: batch.collect() and None)
    assert query.lastProgress is not None
    assert all(operator.numRowsTotal <= 6 for operator in query.lastProgress.stateOperators)


def joined(spark: SparkSession, folder: Path, batches: list[list[Fact]]) -> tuple[list[Row], dict[str, int]]:
    """The changes of first hours, and how many rows of state each kind of operator has after the last batch."""
    stream, changes = CutStream(spark, folder), list[Row]()
    for batch in batches:
        stream.add(batch)
    query = stream.run(
        first_hours, lambda batch, _: changes.extend(batch.transform(summed, "born", "post_id").collect())
    )
    assert query.lastProgress is not None
    return changes, {operator.operatorName: operator.numRowsTotal for operator in query.lastProgress.stateOperators}


def test_a_pair_that_flaps_and_a_post_told_again_hardly_grow_the_join(chained: SparkSession, tmp_path: Path) -> None:
    at, minute = [NOON + timedelta(seconds=number) for number in range(80)], timedelta(minutes=1)
    post = fact("post_created", "e0", NOON - minute, "ada")
    flaps = [fact(("post_liked", "post_unliked")[number % 2], f"f{number}", at[number]) for number in range(80)]
    comments = [fact("comment_added", f"c{number}", at[number], comment_id=f"c{number}") for number in range(12)]
    history = [post] * 30 + flaps + comments
    changes, rows = joined(chained, tmp_path, [history, [post] * 30, [flaps[0]]])
    # One post, two rows of its acts, and one of the like that came again.
    assert (rows["symmetricHashJoin"], rows["dedupe"]) == (4, 1)
    end, posts = NOON + 2 * minute, posts_of(chained, history)
    assert rising_of(chained, changes, posts, end) == reference.rising(history, end) != []


def test_a_post_told_at_other_moments_by_others_and_a_comment_told_again_hardly_grow_the_join(
    chained: SparkSession, tmp_path: Path
) -> None:
    second = timedelta(seconds=1)
    posts = [
        fact("post_created", f"e{number}", NOON + number * second, f"user{number % 7}")
        for number in (3, 1, 2, *range(4, 60))
    ]
    # Dated before the post, within its first hour, and both in turn.
    moments = [NOON - second, *(NOON + number * second for number in range(2, 42))]
    numbered = list(enumerate(moments))
    comments = [fact("comment_added", f"c{number}", at, comment_id="c1") for number, at in numbered]
    deletions = [fact("comment_deleted", f"d{number}", at + second / 2, comment_id="c2") for number, at in numbered]
    others = [fact("comment_added", "c2", NOON + 50 * second, comment_id="c2"), fact("post_liked", "l", NOON + second)]
    history = [*posts, *comments * 3, *deletions, *others]
    changes, rows = joined(chained, tmp_path, [history, posts])
    # A post in the hour before noon, and one in the hour after it; six acts in two hours.
    assert (rows["symmetricHashJoin"], rows["dedupe"]) == (3, 1)
    end = NOON + timedelta(minutes=2)
    known = posts_of(chained, history)
    assert rising_of(chained, changes, known, end) == reference.rising(history, end) != []


def test_a_fact_older_than_the_watermark_is_left_out_without_harm(chained: SparkSession, tmp_path: Path) -> None:
    late = fact("post_liked", "late", NOON - timedelta(days=30), "cy")
    batches = [[fact("post_created", "e0", NOON, "ada")], [fact("post_liked", "e1", NOON)], [late]]
    changes = streamed(chained, tmp_path, batches, panes, ["judged_from", "post_id", "minute"])
    history = [fact for batch in batches for fact in batch]
    end = NOON + timedelta(minutes=1)
    posts = posts_of(chained, history)
    assert trending_of(chained, changes, posts, end) == reference.trending(history, end)
