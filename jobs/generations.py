"""What `msm backfill` does with topics and tables, in batches."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.spark import SEED_RECORD
from contract.topics import POSTS_WITH_COUNTS, result_topic
from jobs.checkpoints import START
from jobs.harness import read_records
from jobs.sinks.kafka import producer_options
from jobs.sinks.lake import table_path
from jobs.transforms.generations import DIFFERENT, EQUAL, MISSING, NEW, UNSETTLED, compared, newest_posts, replacements

SHOWN = 10
STAGED = "staged"


@dataclass
class Comparison:
    """How many posts have which verdict, and the first that differ."""

    posts: dict[str, int] = field(default_factory=dict)
    first: list[Row] = field(default_factory=list)

    @property
    def differ(self) -> int:
        return sum(self.posts.get(verdict, 0) for verdict in (DIFFERENT, MISSING, NEW))

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
    """Count the verdicts."""
    counted = {row.verdict: row["count"] for row in verdicts.groupBy("verdict").count().collect()}
    differing = verdicts.where(F.col("verdict").isin(DIFFERENT, MISSING, NEW))
    return Comparison(counted, differing.orderBy("post_id").limit(SHOWN).collect())


def stage(verdicts: DataFrame, folder: Path) -> DataFrame:
    """Keep what differs, with what both sides say: a switch that is interrupted goes on from it."""
    verdicts.where(F.col("verdict") != EQUAL).write.mode("overwrite").parquet(str(folder))
    return staged(verdicts.sparkSession, folder)


def staged(spark: SparkSession, folder: Path) -> DataFrame:
    return spark.read.parquet(str(folder))


def exchange(differing: DataFrame, settings: Settings, term: int) -> None:
    """Each of the two topics comes to say what the other one said; once more changes nothing."""
    for wanted, side in (("beside", False), ("live", True)):
        records = differing.transform(replacements, wanted, term)
        topic = result_topic(POSTS_WITH_COUNTS, side)
        records.write.format("kafka").options(**producer_options(settings)).option("topic", topic).save()


def seed(spark: SparkSession, settings: Settings, first: Mapping[str, Mapping[str, int]], folder: Path) -> int:
    """Take from the archive what Kafka has no more, before the `first` offsets; how many records that is."""
    events = table_path(settings, tables.EVENTS)
    if not DeltaTable.isDeltaTable(spark, events):
        return 0
    rows = [(topic, int(number), offset) for topic, parts in first.items() for number, offset in parts.items()]
    starts = spark.createDataFrame(rows, "topic string, partition int, first long")
    in_kafka = F.coalesce(F.col("offset") >= F.col("first"), F.lit(False))
    old = (
        spark.read.format("delta")
        .load(events)
        .join(F.broadcast(starts), ["topic", "partition"], "left")
        .where(~in_kafka)
        .withColumnRenamed("arrived_at", "timestamp")
        .select(SEED_RECORD.fieldNames())
    )
    number = old.count()
    if number:
        old.write.mode("overwrite").option("maxRecordsPerFile", settings.max_facts_a_batch).parquet(str(folder))
    return number


def pin(folder: Path, starts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Where the new checkpoints begin to read, by what they subscribe to."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{START}.new"
    fresh.write_text(json.dumps(starts))
    fresh.replace(folder / START)
