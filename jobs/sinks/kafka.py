"""Rows as Kafka records: key, JSON value or tombstone, and what was seen in a header."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamWriter

from conf.kafka import spark_options
from conf.settings import Settings
from contract.results import SEEN_HEADER, PostWithCounts

_WRITER = {"kafka.acks": "all", "kafka.compression.type": "lz4", "kafka.linger.ms": "0"}


def producer_options(settings: Settings) -> dict[str, str]:
    """Options of Spark's Kafka sink, for a stream or a batch."""
    return {**spark_options(settings), **_WRITER}


def kafka_stream(records: DataFrame, settings: Settings, topic: str) -> DataStreamWriter:
    """A writer that upserts absolute rows; at least once, which repeats rows and changes nothing."""
    return (
        records.writeStream.format("kafka")
        .outputMode("update")
        .options(**producer_options(settings))
        .option("topic", topic)
    )


def post_records(posts: DataFrame) -> DataFrame:
    """Counted posts as records: a deleted post is a tombstone."""
    body = F.to_json(F.struct(*PostWithCounts.model_fields))
    return posts.select(
        F.col("post_id").cast("binary").alias("key"),
        F.when(F.col("alive"), body).alias("value"),
        seen_header(F.to_json("seen")).alias("headers"),
    )


def seen_header(seen: Column) -> Column:
    """The header that tells a reader whose facts are in."""
    return F.array(F.struct(F.lit(SEEN_HEADER).alias("key"), seen.cast("binary").alias("value")))
