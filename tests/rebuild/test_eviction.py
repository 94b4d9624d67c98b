"""Old state of the rankings leaves in batches of its own; what comes for it later counts nothing twice."""

import json
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract import tables
from jobs import trending_posts
from jobs.checkpoints import begun_batch, committed_watermark, done_batch
from jobs.harness import now
from jobs.transforms.panes import BEHIND_WATERMARK
from runtime.processes import wait_until
from runtime.rescale import store
from tests.jobs.histories import Fact, fact
from tests.rebuild.earlier_checkpoint import write
from tests.rebuild.queries import PATIENCE, catch_up, evict, run_once, wait_until_read

QUERIES = (trending_posts.NAME, trending_posts.RISING)


def of_a_post(post: str, at: datetime, *users: str) -> list[Fact]:
    """Its creation, and then a like of each user."""
    likes = [fact("post_liked", f"{post}-{user}", at, user, post) for user in users]
    return [fact("post_created", f"{post}-0", at, "ada", post), *likes]


def late_rows(spark: SparkSession, settings: Settings) -> Counter[str]:
    """Live until all is read: by query, how many rows it left out for being too late."""
    queries = trending_posts.start(spark.newSession(), settings)
    late: Counter[str] = Counter()
    for query in queries:
        wait_until_read(query, settings)
        last = done_batch(settings.checkpoint_dir / query.name)
        wait_until(partial(_has_told, query, last), PATIENCE, lambda: f"no progress of batch {last}")  # noqa: B023
        told = [json.loads(one.json).get("observedMetrics", {}) for one in query.recentProgress]  # idle, it tells none
        left_out = [row["rows"] for one in told for name, row in one.items() if name.startswith(BEHIND_WATERMARK)]
        late[query.name] = sum(left_out)
    for query in queries:
        query.stop()
    return late


def _has_told(query: StreamingQuery, batch: int) -> bool:
    return query.lastProgress is not None and query.lastProgress.batchId >= batch


def posts_in_state(spark: SparkSession, settings: Settings, query: str) -> set[str]:
    """Posts with something in an aggregate of the query after its last batch, as Spark's state reader finds them."""
    checkpoint = settings.checkpoint_dir.absolute() / query
    operators = spark.read.format("state-metadata").load(str(checkpoint)).where("operatorName = 'stateStoreSave'")
    aggregates = [row.operatorId for row in operators.select("operatorId").distinct().collect()]
    assert len(aggregates) == {trending_posts.NAME: 2, trending_posts.RISING: 3}[query]
    states = (store(spark, checkpoint, operator) for operator in aggregates)
    return {row.post_id for state in states for row in state.select("key.post_id").collect()}


def panes(settings: Settings, post: str) -> dict[datetime, int]:
    """Its likes in each judging window."""
    likes: Counter[datetime] = Counter()
    for pane in DeltaTable(settings.lake_dir / tables.ENGAGEMENT_BY_MINUTE).to_pyarrow_table().to_pylist():
        if pane["post_id"] == post:
            likes[pane["judged_from"]] += pane["judged_likes"]
    return dict(likes)


def first_hour(settings: Settings, post: str) -> int:
    """Likes of its first hour."""
    changes = DeltaTable(settings.lake_dir / tables.FIRST_HOUR_ENGAGEMENT).to_pyarrow_table().to_pylist()
    return sum(change["likes"] for change in changes if change["post_id"] == post)


def set_watermark(checkpoint: Path, moment: datetime) -> None:
    """As if a fact of the last batch had been dated so much later: batches after it go by that."""
    done = done_batch(checkpoint)
    milliseconds = int(moment.timestamp() * 1_000)
    _say(checkpoint / "commits" / str(done), nextBatchWatermarkMs=milliseconds)
    for batch in range(done + 1, begun_batch(checkpoint) + 1):
        _say(checkpoint / "offsets" / str(batch), batchWatermarkMs=milliseconds)


def _say(log: Path, **more: int) -> None:
    version, said, *others = log.read_text().splitlines()
    log.write_text("\n".join([version, json.dumps({**json.loads(said), **more}), *others]))
    log.with_name(f".{log.name}.crc").unlink(missing_ok=True)


@pytest.mark.spark
@pytest.mark.kafka
def test_a_clock_that_was_ahead_for_a_moment_does_not_empty_the_rankings(spark: SparkSession, broker: Settings) -> None:
    began = now()
    before = of_a_post("p1", began - timedelta(minutes=2), "bob")
    write(broker, before)
    run_once(spark, broker, trending_posts)
    for query in QUERIES:
        set_watermark(broker.checkpoint_dir / query, began + timedelta(hours=3))
    assert trending_posts.evict(spark.newSession(), broker) == []
    write(broker, [*before, *of_a_post("p2", began, "bob", "cy")])
    assert late_rows(spark, broker) == dict.fromkeys(QUERIES, 0)
    said = {post: (set(panes(broker, post).values()), first_hour(broker, post)) for post in ("p1", "p2")}
    assert said == {"p1": ({1}, 1), "p2": ({2}, 2)}
    assert all(committed_watermark(broker.checkpoint_dir / query) > began + timedelta(hours=2) for query in QUERIES)
    assert [posts_in_state(spark, broker, query) for query in QUERIES] == [{"p1", "p2"}] * 2


@pytest.mark.spark
@pytest.mark.kafka
def test_state_leaves_in_a_round_of_its_own_and_what_comes_later_counts_once(
    spark: SparkSession, broker: Settings
) -> None:
    began = now()
    half_past = began.replace(minute=30)  # in the first five minutes of an hour a fact is in three windows
    ancient = of_a_post("p0", half_past - timedelta(days=2), "bob", "cy")
    old = of_a_post("p1", half_past - timedelta(hours=8), "bob", "cy")
    fresh = of_a_post("p2", began - timedelta(minutes=3), "bob")
    write(broker, [*ancient, *old])
    # Two likes in two windows of an hour each; two likes and their post.
    late = late_rows(spark, broker)
    assert late == {trending_posts.NAME: 4, trending_posts.RISING: 3}
    write(broker, fresh)
    run_once(spark, broker, trending_posts)
    assert [posts_in_state(spark, broker, query) for query in QUERIES] == [{"p1", "p2"}] * 2
    write(broker, fresh)  # again: a round without facts evicts nothing
    catch_up(spark, broker, trending_posts)
    assert [posts_in_state(spark, broker, query) for query in QUERIES] == [{"p1", "p2"}] * 2
    write(broker, fresh)
    evict(spark, broker)
    assert all(committed_watermark(broker.checkpoint_dir / query) > began - timedelta(minutes=80) for query in QUERIES)
    assert [posts_in_state(spark, broker, query) for query in QUERIES] == [{"p2"}] * 2
    said = {post: (panes(broker, post), first_hour(broker, post)) for post in ("p1", "p2")}
    assert [(set(likes.values()), hour) for likes, hour in said.values()] == [({2}, 2), ({1}, 1)]
    write(broker, [*old, *fresh])
    late = late_rows(spark, broker)
    assert {post: (panes(broker, post), first_hour(broker, post)) for post in said} == said
    assert [posts_in_state(spark, broker, query) for query in QUERIES] == [{"p2"}] * 2
    assert late == {trending_posts.NAME: sum(said["p1"][0].values()), trending_posts.RISING: 3}
