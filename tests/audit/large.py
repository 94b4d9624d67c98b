"""Times an audit of many facts: makes them with Spark, counts them, publishes, and audits what it made.

A second run on the same data dir audits what is there; with a second argument the part that has this turn.

    MSM_DATA_DIR=/tmp/large MSM_SPARK_MASTER="local[2]" .venv/bin/python -m tests.audit.large 10000000
"""

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from audit.report import show
from audit.run import audit_once
from conf.settings import Settings, load_settings
from contract import tables
from contract.spark import POST_WITH_COUNTS_ROW
from contract.topics import POSTS_WITH_COUNTS
from jobs.archive import EVENTS
from jobs.sinks.kafka import post_records, producer_options
from jobs.sinks.lake import append_once, ensure_table, table_path
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from runtime.broker import embedded_broker
from runtime.spark import batch_session
from runtime.topics import ensure_topics

PARTITIONS, USERS = 4, 100_000
SHARES = {"posts": 0.01, "likes": 0.79, "comments": 0.2}


def records(spark: SparkSession, many: int) -> DataFrame:
    """Likes and comments of few popular posts and many others; a tenth of the likes are taken back."""
    posts = int(many * SHARES["posts"])
    parts = [_topic(spark.range(int(many * share)), topic, posts) for topic, share in SHARES.items()]
    return parts[0].unionByName(parts[1]).unionByName(parts[2])


def _topic(numbers: DataFrame, topic: str, posts: int) -> DataFrame:
    chance = F.pmod(F.xxhash64("id", F.lit(topic)), F.lit(1_000_000)) / 1_000_000
    post = F.col("id") if topic == "posts" else (F.pow(chance, 3) * (posts // PARTITIONS)).cast("long") * PARTITIONS
    # One post is in one partition: its number has the partition's remainder.
    number = post if topic == "posts" else post + F.pmod("id", F.lit(PARTITIONS))
    user = F.concat(F.lit("user"), F.pmod(F.xxhash64("id"), F.lit(USERS)))
    kind = {
        "posts": F.lit("post_created"),
        "likes": F.when(F.pmod("id", F.lit(10)) == 9, F.lit("post_unliked")).otherwise(F.lit("post_liked")),
        "comments": F.lit("comment_added"),
    }[topic]
    common = {"event_id": F.md5(F.concat(F.lit(topic), "id")), "event_type": kind, "user_id": user}
    more: dict[str, Mapping[str, Column]] = {
        "posts": {"image_url": F.lit("/media/none.png"), "caption": F.lit("A caption of a usual length, no more.")},
        "likes": {},
        "comments": {"comment_id": F.md5(F.concat(F.lit("c"), "id")), "text": F.lit("What a light!")},
    }
    second = F.timestamp_seconds(F.lit(1_795_000_000) + F.pmod("id", F.lit(800_000)))
    moment = F.date_format(second, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
    fields = {**common, "occurred_at": moment, "post_id": F.concat(F.lit("post"), number), **more[topic]}
    body = F.to_json(F.struct(*(column.alias(name) for name, column in fields.items())))
    return numbers.select(
        F.lit(topic).alias("topic"),
        F.pmod("id", F.lit(PARTITIONS)).cast("int").alias("partition"),
        F.floor(F.col("id") / PARTITIONS).alias("offset"),
        F.lit("2026-12-01").cast("timestamp").alias("arrived_at"),
        fields["user_id" if topic == "posts" else "post_id"].cast("binary").alias("key"),
        body.cast("binary").alias("value"),
        F.lit("2026-12-01").cast("date").alias("arrived_date"),
    )


def remember(checkpoint: Path, offsets: Mapping[str, Mapping[int, int]]) -> None:
    """A checkpoint of one batch that ended there."""
    for log, text in (("offsets", f"v1\n{{}}\n{json.dumps(offsets)}"), ("commits", "v1\n{}")):
        (checkpoint / log).mkdir(parents=True)
        (checkpoint / log / "0").write_text(text)
    (checkpoint / "metadata").write_text('{"id": "large"}')


def prepare(spark: SparkSession, settings: Settings, many: int) -> None:
    """Archive, topic and table as the jobs would have left them."""
    path = ensure_table(spark, table_path(settings, tables.EVENTS), EVENTS, ["arrived_date"])
    append_once(records(spark, many).select(EVENTS.fieldNames()), path, "events-large", 0)
    archived = spark.read.format("delta").load(path).withColumnRenamed("arrived_at", "timestamp")
    ends = archived.groupBy("topic", "partition").agg((F.max("offset") + 1).alias("next")).collect()
    reached: dict[str, dict[int, int]] = {}
    for row in ends:
        reached.setdefault(row.topic, {})[row.partition] = row.next
    counted = archived.transform(facts).transform(valid).transform(count).transform(post_records)
    options = producer_options(settings)
    counted.write.format("kafka").options(**options).option("topic", POSTS_WITH_COUNTS).save()
    _project(spark, settings)
    remember(settings.checkpoint_dir / tables.EVENTS, reached)
    remember(settings.checkpoint_dir / POSTS_WITH_COUNTS, reached)


def _project(spark: SparkSession, settings: Settings) -> None:
    topic = spark.read.format("kafka").option("kafka.bootstrap.servers", settings.bootstrap)
    rows = topic.option("subscribe", POSTS_WITH_COUNTS).load()
    post = F.from_json(F.col("value").cast("string"), POST_WITH_COUNTS_ROW).alias("post")
    path = ensure_table(spark, table_path(settings, tables.POSTS_WITH_COUNTS), POST_WITH_COUNTS_ROW)
    append_once(rows.select(post).select("post.*"), path, "posts-large", 0)
    ends = {row.partition: row.next for row in rows.groupBy("partition").agg(_next()).collect()}
    remember(settings.checkpoint_dir / "posts_with_counts_lake", {POSTS_WITH_COUNTS: ends})


def _next() -> Column:
    return (F.max("offset") + 1).alias("next")


def used() -> tuple[float, float]:
    """CPU seconds of the processes that were waited for, and the most memory that one of them had, in GiB."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime, of_children.ru_maxrss / 1024**2


def main() -> int:
    """Make, audit, print."""
    settings, many, turn = load_settings(), int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else None
    with embedded_broker(settings):
        ensure_topics(settings)
        if not settings.lake_dir.exists():
            with batch_session(settings) as spark:
                spark.conf.set("spark.sql.shuffle.partitions", 16)
                prepare(spark, settings, many)
        before, _ = used()
        code, report = audit_once(settings, turn=turn)
        cpu, memory = used()
    console = Console()
    if "error" in report:
        console.print(report["error"], markup=False)
    else:
        show(report, console)
    console.print(f"{(cpu - before) * 1_000_000 / many:.0f} CPU seconds a million, {memory:.1f} GiB at most")
    return code


if __name__ == "__main__":
    sys.exit(main())
