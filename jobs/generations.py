"""What `msm backfill` does with topics and tables, in batches."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from conf.store import write_whole
from contract import tables
from contract.spark import SEED_RECORD
from contract.topics import POSTS_WITH_COUNTS, result_topic
from jobs.checkpoints import SEED, START, made
from jobs.harness import read_records
from jobs.offsets import Offsets, rows
from jobs.sinks.kafka import producer_options
from jobs.sinks.lake import OURS, append, ensure_table, table_path
from jobs.transforms.facts import facts, valid
from jobs.transforms.generations import (
    DIFFERENT,
    MISSING,
    NEW,
    UNSETTLED,
    compared,
    newest_posts,
    newest_term,
    panes_that_differ,
    replacements,
    told_otherwise,
)
from jobs.transforms.panes import as_judged
from jobs.transforms.ranking import PastHour
from jobs.trending_posts import POST_FACTS

SHOWN = 10
STAGED = "staged"


@dataclass
class Comparison:
    """How many posts have which verdict, and the first that differ."""

    posts: dict[str, int] = field(default_factory=dict)
    first: list[Row] = field(default_factory=list)
    minutes: int = 0
    """Of the rankings: minutes of posts that add up to something else."""

    @property
    def differ(self) -> int:
        return self.minutes + sum(self.posts.get(verdict, 0) for verdict in (DIFFERENT, MISSING, NEW))

    @property
    def unsettled(self) -> int:
        return sum(self.posts.get(verdict, 0) for verdict in UNSETTLED)

    def settled_by(self, again: "Comparison") -> "Comparison":
        """With what was found when those that were not settled were looked at again."""
        posts = {verdict: number for verdict, number in self.posts.items() if verdict not in UNSETTLED}
        for verdict, number in again.posts.items():
            posts[verdict] = posts.get(verdict, 0) + number
        return Comparison(posts, [*self.first, *again.first])


def both_tellings(spark: SparkSession, settings: Settings) -> DataFrame:
    """Live and beside, post by post, as the two topics have it now."""
    live, there = (
        read_records(spark, settings, result_topic(POSTS_WITH_COUNTS, side)).transform(newest_posts)
        for side in (False, True)
    )
    return compared(live, there)


def judge(verdicts: DataFrame) -> Comparison:
    """Count the verdicts; what is deleted on both sides is no post."""
    posts = verdicts.where(F.col("verdict").isNotNull())
    counted = {row.verdict: row["count"] for row in posts.groupBy("verdict").count().collect()}
    differing = verdicts.where(F.col("verdict").isin(DIFFERENT, MISSING, NEW))
    return Comparison(counted, differing.orderBy("post_id").limit(SHOWN).collect())


def differing_minutes(spark: SparkSession, settings: Settings, new: Settings, moment: datetime) -> DataFrame:
    """(post_id, minute, ...) of the hour before the moment that counts otherwise beside."""
    live, there = (_judged(spark, one) for one in (settings, new))
    return panes_that_differ(live, there, PastHour.at(moment))


def _judged(spark: SparkSession, settings: Settings) -> DataFrame:
    table = spark.read.format("delta").load(table_path(settings, tables.ENGAGEMENT_BY_MINUTE))
    # Of an older version, which is rebuilt therefore, it has one pair of numbers.
    return table.transform(as_judged) if "judged_likes" in table.columns else table


def stage(verdicts: DataFrame, folder: Path) -> None:
    """Keep what the topics are to exchange, with what both sides say: a switch that is interrupted goes on from it."""
    verdicts.transform(told_otherwise).write.mode("overwrite").parquet(str(folder))


def staged(spark: SparkSession, folder: Path) -> DataFrame:
    return spark.read.parquet(str(folder))


def exchange(differing: DataFrame, settings: Settings, term: int) -> None:
    """Each of the two topics comes to say what the other one said; once more changes nothing."""
    for wanted, side in (("beside", False), ("live", True)):
        records = differing.transform(replacements, wanted, term)
        topic = result_topic(POSTS_WITH_COUNTS, side)
        records.write.format("kafka").options(**producer_options(settings)).option("topic", topic).save()


def next_term(spark: SparkSession, sides: Sequence[Settings]) -> int:
    """One above every term that counts were published under, or are to be, on these sides."""
    signed = [made(side.checkpoint_dir / POSTS_WITH_COUNTS).get("term", 0) for side in sides]
    topics = (read_records(spark, side, result_topic(POSTS_WITH_COUNTS, side.beside)) for side in sides)
    return 1 + max(*signed, *map(newest_term, topics))


def seed(spark: SparkSession, settings: Settings, first: Offsets, checkpoint: Path) -> int:
    """Take from the archive what Kafka has no more, before the `first` offsets, for a new checkpoint to read.

    How many records that is.
    """
    old = _only_archived(spark, settings, first)
    number = old.count() if old is not None else 0
    if old is not None and number:
        folder = settings.seeds_dir / uuid.uuid4().hex
        old.write.option("maxRecordsPerFile", settings.max_facts_a_batch).parquet(str(folder))
        checkpoint.mkdir(parents=True, exist_ok=True)
        fresh = checkpoint / f"{SEED}.new"
        fresh.write_text(folder.name)
        fresh.replace(checkpoint / SEED)
    return number


def keep_archived_posts(spark: SparkSession, settings: Settings, first: Offsets, new: Settings) -> None:
    """Posts that Kafka has no more, into the working table of the rankings beside; twice does no harm there."""
    path = ensure_table(spark, table_path(new, tables.POST_FACTS), POST_FACTS, versions=OURS)
    old = _only_archived(spark, settings, first)
    if old is not None:
        posts = old.where("topic = 'posts'").transform(facts).transform(valid).select(POST_FACTS.fieldNames())
        append(posts, path)


def _only_archived(spark: SparkSession, settings: Settings, first: Offsets) -> DataFrame | None:
    """Records of the archive before the first offsets of Kafka; None where there is no archive."""
    events = table_path(settings, tables.EVENTS)
    if not DeltaTable.isDeltaTable(spark, events):
        return None
    starts = spark.createDataFrame(rows(first), "topic string, partition int, first long")
    in_kafka = F.coalesce(F.col("offset") >= F.col("first"), F.lit(False))
    return (
        spark.read.format("delta")
        .load(events)
        .join(F.broadcast(starts), ["topic", "partition"], "left")
        .where(~in_kafka)
        .withColumnRenamed("arrived_at", "timestamp")
        .select(SEED_RECORD.fieldNames())
    )


def pin(folder: Path, starts: Mapping[str, Offsets]) -> None:
    """Where the new checkpoints begin to read, by what they subscribe to."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / START, starts)
