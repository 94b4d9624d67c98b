"""Where an audit reads, each as of an offset."""

import json
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from audit.offsets import CannotAuditError, in_kafka
from conf.kafka import spark_options
from conf.settings import Settings
from conf.store import delta_options, lake
from contract import tables
from contract.facts import FACT_TOPICS
from contract.spark import POST_WITH_COUNTS_JSON
from jobs.archive import EVENTS
from jobs.offsets import Offsets
from jobs.sinks.lake import table_path

RECORD = ("topic", "partition", "offset", "arrived_at", "key", "value")


def version(spark: SparkSession, settings: Settings, table: str, number: int) -> DataFrame:
    """One version of a table of the lake."""
    return spark.read.format("delta").option("versionAsOf", number).load(table_path(settings, table))


def archived(spark: SparkSession, settings: Settings, found: DeltaTable) -> DataFrame:
    """Every record of the archive as `found` has it.

    By the names of its files, which stay for longer than the log that says which they are (`REPLACED`).
    """
    folder = lake(settings) / tables.EVENTS
    files = [str(folder / name) for name in found.get_add_actions().column("path").to_pylist()]
    return spark.read.schema(EVENTS).parquet(*files).select(*RECORD)


def erased(spark: SparkSession, settings: Settings) -> DataFrame:
    """Places of records that `msm forget` took out of the archive: (topic, partition, offset, post_id)."""
    path = table_path(settings, tables.ERASED)
    if not DeltaTable.is_deltatable(path, storage_options=delta_options(settings)):
        none = spark.createDataFrame([], "topic string, partition int, offset bigint, post_id string")
        return none.where("false")  # so that Spark knows, and joins nothing with it
    return spark.read.format("delta").load(path).distinct()


def from_topics(spark: SparkSession, settings: Settings, first: Offsets, following: Offsets) -> DataFrame:
    """The records of the topics between these offsets, with their headers."""
    return (
        spark.read.format("kafka")
        .options(**spark_options(settings))
        .option("subscribe", ",".join(following))
        .option("startingOffsets", json.dumps(first))
        .option("endingOffsets", json.dumps(following))
        .option("includeHeaders", "true")
        .option("failOnDataLoss", "true")
        .load()
        .withColumn("arrived_at", F.col("timestamp"))
    )


def facts_of_kafka(spark: SparkSession, settings: Settings) -> tuple[DataFrame, Offsets]:
    """Every record of the fact topics, and where they end; refused where Kafka has let go of some."""
    first, following = in_kafka(settings, *FACT_TOPICS)
    gone = [topic for topic, parts in first.items() if any(parts.values())]
    if gone:
        raise CannotAuditError(
            f"Kafka no longer has the first records of {', '.join(gone)}: audit without --from kafka"
        )
    return from_topics(spark, settings, first, following).select(*RECORD), following


def feed_pages(spark: SparkSession, path: Path) -> DataFrame:
    """The kept pages of the feed, (post_id, said); a post that moved while one turned pages may be there twice."""
    said = F.struct(*(F.col(name) for name in POST_WITH_COUNTS_JSON.fieldNames() if name != "post_id"))
    posts = spark.read.schema(POST_WITH_COUNTS_JSON).json(str(path)).select("post_id", said.alias("said"))
    return posts.groupBy("post_id").agg(F.max_by("said", "said.version").alias("said"))
