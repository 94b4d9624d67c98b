"""Counts likes and comments of every post, exactly, and publishes each change to Kafka.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf jobs/posts_with_counts.py
"""

from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS
from jobs.harness import main, read_topics
from jobs.sinks.kafka import kafka_stream, post_records
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid

NAME = "posts_with_counts"


def start(spark: SparkSession, settings: Settings) -> Sequence[StreamingQuery]:
    """The one query: facts in, absolute counts out."""
    # Spark refuses an aggregate after an aggregate in update mode, since the second would count updates as new rows.
    # Here the second keeps the last two updates and the third sums their differences: docs/decisions/disabled-check.md
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", "false")
    records = read_topics(spark, settings, *FACT_TOPICS)
    counted = records.transform(facts).transform(valid).transform(count)
    query = (
        kafka_stream(counted.transform(post_records), settings, POSTS_WITH_COUNTS)
        .queryName(NAME)
        .option("checkpointLocation", str(settings.checkpoint_dir / NAME))
        .start()
    )
    return [query]


if __name__ == "__main__":
    main(NAME, start)
