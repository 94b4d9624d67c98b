"""A small lake, written with the jobs' own transformations and sinks."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.facts import FACT_TOPICS
from jobs.archive import EVENTS, project_posts
from jobs.sinks.kafka import post_records
from jobs.sinks.lake import append_once, ensure_table, table_path
from jobs.sinks.rankings import Rankings
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from jobs.transforms.panes import PANE, as_kept, dated_acts, minute_panes, summed
from jobs.transforms.ranking import MINUTE
from jobs.trending_posts import FIRST_HOUR, KEPT_PANES, POST_FACTS
from producers.publisher import Record
from producers.simulator.arrivals import spread
from producers.simulator.history import Mix, history

FACTS, BATCHES, MINUTES_RANKED = 1_500, 2, 2
RECORD = "topic string, partition int, offset bigint, timestamp timestamp, key binary, value binary"
# Many records are no facts; redeliveries, strangers, unlikes and likes before their post stay in.
MIX = Mix(broken=20, create_post=5, late=0)
Arrived = tuple[str, int, int, datetime, bytes | None, bytes]


def arrivals(now: datetime) -> Iterator[Arrived]:
    """What a small network did in the past two hours, as Kafka would hold it."""
    moments = list(spread(now - timedelta(hours=2), now, FACTS))
    offsets = dict.fromkeys(FACT_TOPICS, 0)
    for record, moment in zip(history(1, moments, users=200, mix=MIX), moments, strict=True):
        yield _arrived(record, offsets[record.topic], moment)
        offsets[record.topic] += 1


def _arrived(record: Record, offset: int, moment: datetime) -> Arrived:
    return record.topic, 0, offset, moment, record.key, record.value


def write_lake(spark: SparkSession, settings: Settings, now: datetime) -> None:
    """The tables that the archive and the trending job keep."""
    records = list(arrivals(now))
    frames = [spark.createDataFrame(part, RECORD).coalesce(1).persist() for part in _growing(records)]
    write_events(spark, settings, frames[-1])
    write_counts(spark, settings, frames)
    write_rankings(spark, settings, frames[-1], now)


def _growing(records: Sequence[Arrived]) -> list[Sequence[Arrived]]:
    return [records[: len(records) * part // BATCHES] for part in range(1, BATCHES + 1)]


def write_events(spark: SparkSession, settings: Settings, records: DataFrame) -> None:
    """All records once; no dead letters, which would want a broker."""
    path = ensure_table(spark, table_path(settings, tables.EVENTS), EVENTS, ["arrived_date"])
    events = records.withColumnRenamed("timestamp", "arrived_at").withColumn("arrived_date", F.to_date("arrived_at"))
    append_once(events.select(EVENTS.fieldNames()), path, "events", 0)


def write_counts(spark: SparkSession, settings: Settings, growing: Sequence[DataFrame]) -> None:
    """The counts of each part as a version of its own."""
    project = project_posts(spark, settings)
    for batch_id, records in enumerate(growing):
        counted = records.transform(facts).transform(valid).transform(count).transform(post_records)
        position = F.lit(0).alias("partition"), F.lit(batch_id).cast("long").alias("offset")
        project(counted.select("*", *position), batch_id)


def write_rankings(spark: SparkSession, settings: Settings, records: DataFrame, now: datetime) -> None:
    """Panes and facts of posts, and the rankings at the end of the last minutes."""
    judged = records.transform(facts).transform(valid).persist()
    panes = judged.where("topic <> 'posts'").transform(dated_acts).transform(minute_panes)
    changes = panes.transform(summed, *PANE).transform(as_kept)
    posts = judged.where("topic = 'posts'").select(POST_FACTS.fieldNames())
    post_facts = ensure_table(spark, table_path(settings, tables.POST_FACTS), POST_FACTS)
    by_minute = ensure_table(spark, table_path(settings, tables.ENGAGEMENT_BY_MINUTE), KEPT_PANES, ["judged_from"])
    ensure_table(spark, table_path(settings, tables.FIRST_HOUR_ENGAGEMENT), FIRST_HOUR)
    append_once(changes, by_minute, "panes", 0)
    append_once(posts, post_facts, "posts", 0)
    rankings = Rankings(spark, settings)
    for back in range(MINUTES_RANKED, 0, -1):
        rankings.remember(spark, now - MINUTE * (back - 1))
