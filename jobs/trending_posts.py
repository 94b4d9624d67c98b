"""Ranks what is trending in the past hour and rising in its first one, every few seconds, to Kafka and the lake.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf jobs/trending_posts.py
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import LongType, StringType, StructField, StructType

from conf.settings import Settings
from conf.store import Place, checkpoints, write_whole
from contract import tables
from contract.facts import format_time, parse_time
from jobs.checkpoints import committed_watermark, next_watermark, offsets_of_batch
from jobs.harness import Batch, main, now, query_id, read_topics, start_query
from jobs.rounds import CATCH_UP, change
from jobs.sinks.lake import COMPACT_EVERY, OURS, Appends, append, compact, drop, ensure_table, fold, table_path
from jobs.sinks.rankings import FirstHours, Fresh, Rankings
from jobs.transforms.counts import first_of_each
from jobs.transforms.facts import facts, valid
from jobs.transforms.panes import (
    ENGAGEMENT,
    LATENESS,
    PANE,
    as_kept,
    dated_acts,
    first_hour_engagement,
    minute_panes,
    summed,
)
from jobs.transforms.ranking import PastHour

log = structlog.get_logger()
NAME = "trending_posts"
RISING = "first_hour_engagement"
KEEP = timedelta(days=1)
"""How long panes are kept; facts that could only change older ones are left out."""
FOLDED = timedelta(minutes=15)
"""Of how many minutes the changes are folded at a time: three times those between two foldings of a job on time."""
NEWEST_WATERMARK = timedelta(minutes=60)
"""Behind the clock. A fact may be five minutes ahead of the broker's, its watermark is seventy behind it."""
EVICTED = "evicted.json"
RANK_WHILE_CATCHING_UP = timedelta(seconds=30)
"""How old a ranking of what was read so far may be, while there is more; each costs as much as thousands of facts."""
OPTIONS = {
    # See docs/decisions/disabled-check.md.
    "spark.sql.streaming.unsupportedOperationCheck": "false",
    # An idle topic must not hold the state of the busy one: nothing that a ranking needs is this late.
    "spark.sql.streaming.multipleWatermarkPolicy": "max",
    # A fifth of an append; whoever looks for minutes here finds their place in the files themselves.
    "spark.databricks.delta.stats.collect": "false",
    # Another sixth: what Spark's own metrics of the write would add to the history of tables that nobody else reads.
    "spark.databricks.delta.history.metricsEnabled": "false",
}
PANES = (
    StructType()
    .add("judged_from", "timestamp")
    .add("post_id", "string")
    .add("minute", "timestamp")
    .add("likes", "long")
    .add("comments", "long")
)
KEPT_PANES = StructType([*PANES, *(StructField(f"judged_{name}", LongType()) for name in ENGAGEMENT)])
FIRST_HOUR = StructType().add("born", "timestamp").add("post_id", "string").add("likes", "long").add("comments", "long")
POST_FACTS = StructType(
    [
        StructField(name, StringType())
        for name in ("event_id", "event_type", "occurred_at", "user_id", "post_id", "image_url", "caption")
    ]
)
Read = Callable[..., DataFrame]
"""The facts of the topics that are named."""


def start(spark: SparkSession, settings: Settings, catching_up: bool = False) -> Sequence[StreamingQuery]:
    """Two queries: the panes, whose batches are the ticks of the rankings, and the first hours."""
    trigger = CATCH_UP if catching_up else {"processingTime": f"{settings.rank_every_seconds} seconds"}
    # A new checkpoint has read nothing yet, and a year of facts may wait; what is older than the tables is not needed.
    needed = now() - KEEP
    evicted = {query: max(needed, _evicted(checkpoints(settings) / query)) for query in (NAME, RISING)}
    return _started(spark, settings, trigger, evicted, RANK_WHILE_CATCHING_UP if catching_up else timedelta(0))


def _evicted(checkpoint: Place) -> datetime:
    """The watermark up to which state was evicted, at the most: written down at the first start after it was.

    A later watermark has evicted nothing yet, and may be of a clock that was ahead.
    """
    try:
        until = json.loads((checkpoint / EVICTED).read_text())["until"]
    except (FileNotFoundError, ValueError):  # not written yet, or torn by a power cut
        until = None
    if until is None:
        until = format_time(committed_watermark(checkpoint))
        write_whole(checkpoint / EVICTED, {"until": until})
    return parse_time(until)


def evict(spark: SparkSession, settings: Settings) -> Sequence[StreamingQuery]:
    """The same two, over what waits, with batches that drop old state: docs/decisions/eviction.md.

    None while a watermark is later than the clock allows: state that is still needed would be dropped.
    """
    latest = now() - NEWEST_WATERMARK
    folders = [checkpoints(settings) / query for query in (NAME, RISING)]
    if ahead := [mark for mark in map(next_watermark, folders) if mark > latest]:
        log.warning(
            "no state is evicted, and it grows, until time has come up to the watermark: a clock was ahead",
            watermark=format_time(max(ahead)),
        )
        return []
    for folder in folders:
        write_whole(folder / EVICTED, {"until": None})
    return _started(spark, settings, CATCH_UP, {}, timedelta(0))


def _started(
    spark: SparkSession, settings: Settings, trigger: Any, evicted: Mapping[str, datetime], rank_every: timedelta
) -> Sequence[StreamingQuery]:
    # Of the round before: what Spark keeps in memory belongs to no session, and is kept until somebody says so.
    spark.catalog.clearCache()
    change(spark, OPTIONS)
    ensure_table(spark, table_path(settings, tables.ENGAGEMENT_BY_MINUTE), KEPT_PANES, ["judged_from"], versions=OURS)
    ensure_table(spark, table_path(settings, tables.FIRST_HOUR_ENGAGEMENT), FIRST_HOUR, versions=OURS)
    ensure_table(spark, table_path(settings, tables.POST_FACTS), POST_FACTS, versions=OURS)
    rankings = Rankings(spark, settings)
    is_live = trigger is not CATCH_UP
    ranks, keeps = tick(settings, rankings, rank_every, is_live), keep_first_hours(settings, rankings.first_hours)

    def read(*topics: str) -> DataFrame:
        records = read_topics(spark, settings, *topics, live=is_live)
        return records.transform(facts).transform(valid)

    return [
        start_query(panes_and_posts(spark, read, evicted.get(NAME)), "update", NAME, ranks, settings, trigger),
        start_query(first_hours(read, evicted.get(RISING)), "update", RISING, keeps, settings, trigger),
    ]


def panes_and_posts(spark: SparkSession, read: Read, evicted: datetime | None) -> DataFrame:
    """Changes of panes, and as they came the facts of posts (`fact`, else null); each topic is read once."""
    dated = read("likes", "comments").transform(dated_acts)
    panes = dated.unionByName(clock(spark, dated)).transform(minute_panes, evicted)
    fact = F.struct(*POST_FACTS.fieldNames()).alias("fact")
    no_pane = [F.lit(None).cast(field.dataType).alias(field.name) for field in PANES]
    return panes.withColumn("fact", F.lit(None).cast(POST_FACTS)).unionByName(read("posts").select(*no_pane, fact))


def clock(spark: SparkSession, like: DataFrame) -> DataFrame:
    """No rows, but a batch a tick: the hour slides though nothing arrives.

    It counts batches. Spark's `rate` counts seconds, and fails for as long as the machine's clock was set back.
    """
    batches = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 1).option("numPartitions", 1).load()
    ticks = batches.where("value < 0")
    return ticks.select(*(F.lit(None).cast(field.dataType).alias(field.name) for field in like.schema))


def tick(settings: Settings, rankings: Rankings, rank_every: timedelta, is_live: bool) -> Batch:
    """Rank with the panes and posts of a batch, where the last ranking is old enough; keep them, exactly once.

    The history is of live batches alone: others know a part of the facts of its minutes. Live ones make up for them.

    Ranked first, since Kafka goes before Delta; but the first batch after a start may be in the tables already.
    """
    panes = table_path(settings, tables.ENGAGEMENT_BY_MINUTE)
    post_facts = table_path(settings, tables.POST_FACTS)
    kept = Appends(settings, tables.ENGAGEMENT_BY_MINUTE, NAME)
    ranked_at: float | None = None

    def run(batch: DataFrame, batch_id: int) -> None:
        nonlocal ranked_at
        session, writer = batch.sparkSession, query_id(batch)
        moment, seen = now(), offsets_of_batch(checkpoints(settings) / NAME, batch_id)
        is_first, began = ranked_at is None, time.monotonic()
        is_due = ranked_at is None or began - ranked_at >= rank_every.total_seconds()
        # On disk: a batch of posts with the longest captions is more than there is memory for.
        rows = batch.persist(StorageLevel.DISK_ONLY)
        try:
            # All of it in one job, also where it was kept before: the ranking has several, and state is written once.
            changed = F.count("judged_from").alias("changes"), F.collect_set("fact.post_id").alias("post_ids")
            (there,) = rows.agg(*changed).collect()
            is_empty = not (there.changes or there.post_ids)
            changes = rows.where(F.col("fact").isNull()).select(PANES.fieldNames())
            facts_of_posts = rows.where(F.col("fact").isNotNull()).select("fact.*")
            if not is_due:
                rankings.skip(there.post_ids)
            elif not is_first:
                rankings.publish(session, moment, seen, Fresh(changes, facts_of_posts, there.post_ids, is_empty))
            if there.changes:
                changes = changes.transform(summed, *PANE).transform(as_kept)
                kept.append(changes.coalesce(1), f"panes-{writer}", batch_id)
            if there.post_ids:
                # Not once: whoever reads them takes the least and the greatest, and asking costs as much as appending.
                append(facts_of_posts.coalesce(1).transform(first_of_each), post_facts)
            if is_first:
                rankings.publish(session, moment, seen, None)
        finally:
            rows.unpersist()
        if is_due:
            ranked_at = began
        if is_live:
            rankings.remember(session, moment)
        if batch_id % COMPACT_EVERY == COMPACT_EVERY - 1:
            tidy(session, panes, moment, newest_fact(checkpoints(settings) / NAME))
            compact(session, post_facts, looked_up="post_id")

    return run


def newest_fact(checkpoint: Place) -> datetime:
    """When the newest fact is dated that the query had read before this batch, but not ahead of the clock.

    The clock alone does not tell what is too old: it may be ahead for a moment.
    """
    return min(now(), next_watermark(checkpoint) + LATENESS)


def tidy(spark: SparkSession, panes: str, moment: datetime, newest: datetime) -> None:
    """Fold what came of late, not the whole hour, which only grows; join the files of hours that are over.

    What is older than is kept, before the `newest` fact, goes.
    """
    is_told = f"judged_from >= timestamp '{PastHour.at(moment).judged_from:%Y-%m-%d %H:00:00}'"
    is_recent = f"minute >= timestamp '{moment - FOLDED:%Y-%m-%d %H:%M:00}'"
    fold(spark, panes, PANE, f"{is_told} AND {is_recent}")
    drop(spark, panes, f"judged_from < timestamp '{newest - KEEP:%Y-%m-%d %H:00:00}'")
    compact(spark, panes, f"NOT ({is_told})")


def first_hours(read: Read, evicted: datetime | None) -> DataFrame:
    """Changes of engagement within the first hour of each post."""
    created = (
        read("posts")
        .where("event_type = 'post_created'")
        .select("post_id", F.col("occurred_at").cast("timestamp").alias("born"))
    )
    return first_hour_engagement(created, read("likes", "comments").transform(dated_acts), evicted)


def keep_first_hours(settings: Settings, table: FirstHours) -> Batch:
    """Append the changes of a batch, exactly once."""

    def run(batch: DataFrame, batch_id: int) -> None:
        # Looked at also where it was kept before, or state would miss the batch.
        changes = batch.transform(summed, "born", "post_id").localCheckpoint()
        table.append(changes, f"rising-{query_id(batch)}", batch_id)
        if batch_id % COMPACT_EVERY == COMPACT_EVERY - 1:
            last = newest_fact(checkpoints(settings) / RISING)
            old = f"born < timestamp '{last - timedelta(hours=3):%Y-%m-%d %H:00:00}'"
            drop(batch.sparkSession, table.path, old)
            fold(batch.sparkSession, table.path, ["born", "post_id"], f"NOT ({old})")
            compact(batch.sparkSession, table.path)

    return run


if __name__ == "__main__":
    main(NAME, start, evict=evict)
