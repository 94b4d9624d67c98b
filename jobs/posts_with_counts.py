"""Counts likes and comments of every post, exactly, and publishes each change to Kafka.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf jobs/posts_with_counts.py
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from conf.settings import Settings
from conf.store import Place, checkpoints
from contract.topics import POSTS_WITH_COUNTS, result_topic
from jobs import realtime
from jobs.checkpoints import made, seed_name, sign
from jobs.harness import main, read_facts, read_records, was_written
from jobs.rounds import CATCH_UP
from jobs.sinks.kafka import kafka_stream, post_records
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from jobs.transforms.generations import newest_term, under_term

NAME = "posts_with_counts"


def start(spark: SparkSession, settings: Settings, catching_up: bool = False) -> Sequence[StreamingQuery]:
    """The one query: facts in, absolute counts out, in micro-batches or in real time, on the same checkpoint.

    In real time a row leaves some milliseconds after its fact came.
    """
    in_batches = catching_up or not goes_live(settings)
    records = read_facts(spark, settings, checkpoint_of(settings), live=not catching_up, in_batches=in_batches)
    query = counts(spark, settings, records, in_batches)
    if catching_up:
        query = query.trigger(**CATCH_UP)
    elif not in_batches:
        query = query.trigger(**realtime.TRIGGER)
    return [query.start()]


def counts(spark: SparkSession, settings: Settings, records: DataFrame, in_batches: bool = True) -> DataStreamWriter:
    """From the facts to the result topic."""
    # Spark refuses an aggregate after an aggregate in update mode, since the second would count updates as new rows.
    # Here the second knows that they are updates, and the third sums differences: docs/decisions/disabled-check.md
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", "false")
    checkpoint, topic = checkpoint_of(settings), result_topic(POSTS_WITH_COUNTS, settings.beside)
    counted = records.transform(facts).transform(valid).transform(count, in_batches)
    published = counted.transform(under_term, term_of(spark, settings, checkpoint, topic)).transform(post_records)
    return kafka_stream(published, settings, topic).queryName(NAME).option("checkpointLocation", str(checkpoint))


def checkpoint_of(settings: Settings) -> Place:
    """Where its state is, in whichever mode it runs."""
    return checkpoints(settings) / NAME


def goes_live(settings: Settings) -> bool:
    """Whether real time follows; facts from the archive can be read in batches only."""
    return realtime.wanted(settings) and not seed_name(checkpoint_of(settings))


def term_of(spark: SparkSession, settings: Settings, checkpoint: Place, topic: str) -> int:
    """The term that the checkpoint publishes under; a new one goes on with the newest of its topic.

    Under that one, a recount from nothing stays below what readers have until it has caught up.
    """
    term = made(checkpoint).get("term")
    if term is None:
        # A batch of Spark that finds nothing is a sixth of what a first million of facts costs.
        term = newest_term(read_records(spark, settings, topic)) if was_written(settings, topic) else 0
        sign(checkpoint, term)
    return term


if __name__ == "__main__":
    main(NAME, start, in_real_time=goes_live)
