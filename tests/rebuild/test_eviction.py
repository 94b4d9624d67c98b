"""Old state of the rankings leaves while the job catches up, not live; what comes for it later counts nothing twice."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract import tables
from contract.facts import format_time
from jobs import trending_posts
from jobs.checkpoints import committed_watermark
from jobs.harness import now
from jobs.transforms.panes import BEHIND_WATERMARK
from tests.rebuild.earlier_checkpoint import write
from tests.rebuild.queries import wait_until_read

QUERIES = (trending_posts.NAME, trending_posts.RISING)
Facts = list[dict[str, str]]


def of_a_post(post: str, at: datetime, *users: str) -> Facts:
    """Its creation, and then a like of each user."""
    common = {"post_id": post, "occurred_at": format_time(at)}
    body = {"image_url": "/media/a.jpg", "caption": "a"}
    created = {"event_id": f"{post}-0", "event_type": "post_created", "user_id": "ada", **common, **body}
    likes = [{"event_id": f"{post}-{user}", "event_type": "post_liked", "user_id": user, **common} for user in users]
    return [created, *likes]


def catch_up(spark: SparkSession, settings: Settings) -> None:
    """The round in which Spark evicts."""
    queries = trending_posts.start(spark.newSession(), settings, True)
    assert all(query.awaitTermination(120) for query in queries)


def go_live(spark: SparkSession, settings: Settings) -> dict[str, list[dict[str, object]]]:
    """Live until all is read; the progress of each batch, by query."""
    queries = trending_posts.start(spark.newSession(), settings)
    for query in queries:
        wait_until_read(query, settings)
    seen = {query.name: _progress(query) for query in queries}
    for query in queries:
        query.stop()
    return seen


def _progress(query: StreamingQuery) -> list[dict[str, object]]:
    return [json.loads(one.json) for one in query.recentProgress]


def state_rows(spark: SparkSession, settings: Settings, query: str) -> list[int]:
    """Rows in each store of a query after its last batch, as Spark's state reader finds them."""
    checkpoint = str((settings.checkpoint_dir / query).absolute())
    operators = spark.read.format("state-metadata").load(checkpoint).select("operatorId", "operatorName").distinct()
    stores = [
        {"operatorId": row.operatorId, **side}
        for row in operators.orderBy("operatorId").collect()
        for side in ([{"joinSide": "left"}, {"joinSide": "right"}] if "Join" in row.operatorName else [{}])
    ]
    return [spark.read.format("statestore").options(**store).load(checkpoint).count() for store in stores]


def likes_by_window(lake: Path, minute: datetime) -> dict[datetime, int]:
    """Likes dated in that minute, in each judging window."""
    panes = DeltaTable(lake / tables.ENGAGEMENT_BY_MINUTE).to_pyarrow_table().to_pylist()
    likes: Counter[datetime] = Counter()
    for pane in panes:
        if pane["minute"] == minute.replace(second=0, microsecond=0):
            likes[pane["judged_from"]] += pane["likes"]
    return dict(likes)


@pytest.mark.spark
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_state_leaves_while_the_job_catches_up_and_what_comes_later_counts_once(
    spark: SparkSession, broker: Settings
) -> None:
    old, fresh = now() - timedelta(hours=8), now() - timedelta(minutes=3)
    first, then = of_a_post("p1", old, "bob", "cy"), of_a_post("p2", fresh, "bob")
    write(broker, first)
    go_live(spark, broker)
    write(broker, then)
    go_live(spark, broker)
    windows = likes_by_window(broker.lake_dir, old)
    assert len(windows) >= 2
    assert set(windows.values()) == {2}
    panes, hours = (state_rows(spark, broker, query) for query in QUERIES)
    assert hours == [3, 3, 3, 2]  # likes, likes, and the join: likes, posts
    write(broker, then)  # again: a round without facts evicts nothing
    catch_up(spark, broker)
    assert all(committed_watermark(broker.checkpoint_dir / query) > old + timedelta(hours=6) for query in QUERIES)
    after = [state_rows(spark, broker, query) for query in QUERIES]
    assert after == [[rows - 2 * len(windows) for rows in panes], [1, 1, 2, 2]]  # the join holds what came again
    write(broker, first)
    seen = go_live(spark, broker)
    assert likes_by_window(broker.lake_dir, old) == windows
    assert state_rows(spark, broker, trending_posts.NAME) == after[0]
    late = [one["observedMetrics"][BEHIND_WATERMARK]["rows"] for one in seen[trending_posts.NAME]]  # type: ignore[index]
    assert sum(late) == sum(windows.values())
