"""Keeps every record in the lake, sends what is no fact to dead letters, and projects the counts into the lake.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf jobs/archive.py
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from conf.settings import Settings
from conf.store import checkpoints
from contract import tables
from contract.facts import FACT_TOPICS
from contract.spark import FACT_FIELDS, POST_WITH_COUNTS_ROW
from contract.topics import POSTS_WITH_COUNTS, TOMBSTONES_KEPT
from jobs.checkpoints import PROJECTED, committed_at, done_batch
from jobs.harness import Batch, main, now, query_id, read_records, read_topics, start_query
from jobs.rounds import CATCH_UP, change
from jobs.sinks.dead_letters import DeadLetterSink
from jobs.sinks.lake import COMPACT_EVERY, append_once, compact, ensure_table, refuse_older_checkpoint, table_path
from jobs.sinks.projection import latest_of_each_post, merge_posts, remove_others
from jobs.transforms.dead_letters import dead_letters
from jobs.transforms.facts import facts

NAME = "archive"
KEPT = "events"
EVERY = "10 seconds"
EVENTS = (
    StructType()
    .add("topic", "string")
    .add("partition", "integer")
    .add("offset", "long")
    .add("arrived_at", "timestamp")
    .add("key", "binary")
    .add("value", "binary")
    .add("arrived_date", "date")
)
OPTIONS = {
    # Files of this size are joined no more: as long as each stays that was replaced, less is written anew each time.
    "spark.databricks.delta.optimize.minFileSize": str(16 << 20),
}
IN_MEMORY = 250_000
"""Records of a batch at most: it is kept while it is looked at twice, and captions may have 2,200 characters."""
REPLACED = "12 hours"
"""How long a file stays that was joined with others: an audit reads the files of its beginning until it is done."""


def start(spark: SparkSession, settings: Settings, catching_up: bool = False) -> Sequence[StreamingQuery]:
    """Two queries: the archive with its dead letters, and the projection of the counts."""
    settings = settings.with_batches_of(IN_MEMORY)
    change(spark, OPTIONS)
    keep, project = keep_events(spark, settings), project_posts(spark, settings)
    events = read_topics(spark, settings, *FACT_TOPICS, live=not catching_up)
    counts = read_topics(spark, settings, POSTS_WITH_COUNTS, live=not catching_up)
    trigger = CATCH_UP if catching_up else {"processingTime": EVERY}
    return [
        start_query(events, "append", KEPT, keep, settings, trigger),
        start_query(counts, "append", PROJECTED, project, settings, trigger),
    ]


def keep_events(spark: SparkSession, settings: Settings) -> Batch:
    """Each batch: dead letters to Kafka, then all records to the lake, exactly once."""
    path = ensure_table(spark, table_path(settings, tables.EVENTS), EVENTS, ["arrived_date"], replaced=REPLACED)
    refuse_older_checkpoint(spark, checkpoints(settings) / KEPT, path, "events")
    sink = DeadLetterSink(settings)

    def keep(records: DataFrame, batch_id: int) -> None:
        judged = records.transform(facts).drop(*FACT_FIELDS).persist()
        try:
            sink.send(judged.transform(dead_letters))
            events = judged.withColumn("arrived_date", F.to_date("arrived_at")).select(EVENTS.fieldNames())
            append_once(events, path, f"events-{query_id(records)}", batch_id)
        finally:
            judged.unpersist()
        if batch_id % COMPACT_EVERY == COMPACT_EVERY - 1:
            compact(records.sparkSession, path)

    return keep


def project_posts(spark: SparkSession, settings: Settings) -> Batch:
    """Each batch: one row a post merged into the table. Who may have missed tombstones begins with all of the topic."""
    path = ensure_table(spark, table_path(settings, tables.POSTS_WITH_COUNTS), POST_WITH_COUNTS_ROW)
    checkpoint = checkpoints(settings) / PROJECTED
    refuse_older_checkpoint(spark, checkpoint, path, "posts")
    if done_batch(checkpoint) >= 0 and now() - committed_at(checkpoint) > TOMBSTONES_KEPT:
        topic = read_records(spark, settings, POSTS_WITH_COUNTS)
        remove_others(spark, topic.transform(latest_of_each_post), path)

    def project(records: DataFrame, batch_id: int) -> None:
        session = records.sparkSession
        posts = records.transform(latest_of_each_post)
        merge_posts(session, posts, path, f"posts-{query_id(records)}", batch_id)
        if batch_id % COMPACT_EVERY == COMPACT_EVERY - 1:
            compact(session, path)

    return project


if __name__ == "__main__":
    main(NAME, start)
