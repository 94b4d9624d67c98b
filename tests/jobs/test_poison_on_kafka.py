"""Poison through the real broker: the archive keeps it all, dead letters name it, and the counts go on."""

import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.facts import CAPTION_MAX, FACT_TOPICS, IMAGE_URL_MAX
from contract.results import TRENDING_KEY, RankedPost, Ranking
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from feeds.records import Record, ranking_change
from jobs.archive import keep_events, project_posts
from jobs.checkpoints import PROJECTED, done_batch
from jobs.harness import read_topics
from jobs.sinks.kafka import kafka_stream, post_records
from jobs.sinks.lake import table_path
from jobs.sinks.rankings import write_rankings
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from tests.jobs.test_facts import CREATED, like
from tests.jobs.test_poison import POISON, topic_of
from tests.jobs.test_sinks import RESULTS, counted
from tests.reference_records import judge
from tests.stack.hostile import read

pytestmark = [pytest.mark.spark, pytest.mark.kafka]
LARGEST = 1_048_000  # what a producer's default, a megabyte with all around it, lets through
Sent = tuple[str, bytes | None, bytes | None]
KEYS: list[Sent] = [
    ("likes", None, like(event_id="no-key")),
    ("likes", b"", like(event_id="empty-key")),
    ("likes", b"\xff\xfe", like(event_id="odd-key")),
    ("likes", b"p1", None),
    ("comments", b"k" * LARGEST, b""),
    ("comments", b"\0" * 500_000, b"\0" * 500_000),
    ("comments", b"p1", b"\xff" * LARGEST),
    ("comments", b"p1", b"x" * LARGEST),
    ("likes", b"p1", like(event_id="large", more="x" * (LARGEST - 500))),
]


@pytest.fixture(scope="module")
def sent(kafka: Settings) -> list[Sent]:
    """Everything in three topics, and around it a post with two likes."""
    good: list[Sent] = [
        ("posts", b"ada", json.dumps({**CREATED, "event_id": "first"}).encode()),
        ("likes", b"p1", like(event_id="before", user_id="bob")),
        ("likes", b"p1", like(event_id="after", user_id="cy")),
    ]
    records: list[Sent] = [
        *good[:2],
        *((topic_of(value), b"p1", value) for _, value, _ in POISON),
        *KEYS,
        good[2],
    ]
    write(kafka, records)
    return records


def write(settings: Settings, records: list[Sent]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap)
    for future in [producer.send(topic, key=key, value=value) for topic, key, value in records]:
        future.get(30)
    producer.close()


def ran(spark: SparkSession, settings: Settings, batch: Any, name: str, *topics: str) -> None:
    records: DataFrame = read_topics(spark, settings, *topics)
    query = (
        records.writeStream.foreachBatch(batch)
        .option("checkpointLocation", str(settings.checkpoint_dir / name))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()


def values(settings: Settings, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(record.key, record.value) for record in read(settings, topic)]


def test_each_record_is_archived_and_what_is_no_fact_gets_one_letter(
    spark: SparkSession, kafka: Settings, sent: list[Sent]
) -> None:
    ran(spark, kafka, keep_events(spark, kafka), "events", *FACT_TOPICS)
    kept = spark.read.format("delta").load(table_path(kafka, tables.EVENTS)).select("topic", "key", "value").collect()
    as_sent = Counter((topic, key, value) for topic, key, value in sent)
    assert Counter((row.topic, _bytes(row.key), _bytes(row.value)) for row in kept) == as_sent
    now = datetime.now(timezone.utc)
    expected = Counter(reason for topic, _, value in sent if (reason := judge(topic, value, now)))
    letters = [json.loads(value or b"") for _, value in values(kafka, "dead_letters")]
    assert Counter(letter["reason"] for letter in letters) == expected
    assert len({(letter["topic"], letter["partition"], letter["offset"]) for letter in letters}) == len(letters)


def _bytes(value: bytearray | None) -> bytes | None:
    return None if value is None else bytes(value)


def test_the_counts_go_on(chained: SparkSession, kafka: Settings, sent: list[Sent]) -> None:
    counted = read_topics(chained, kafka, *FACT_TOPICS).transform(facts).transform(valid).transform(count)
    query = (
        kafka_stream(counted.transform(post_records), kafka, POSTS_WITH_COUNTS)
        .option("checkpointLocation", str(kafka.checkpoint_dir / "counts"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    [post] = [json.loads(value) for key, value in values(kafka, POSTS_WITH_COUNTS) if key == b"p1" and value]
    likers = {"ada", "bob", "cy", "7"}  # "7" is a user of the poison, and likes 1e5
    assert post["likes"] == len(likers) - 1


def test_garbage_among_the_results_leaves_the_table_as_it_was(
    spark: SparkSession, kafka: Settings, sent: list[Sent]
) -> None:
    values_of_one = (counted(likes=2, version=1), *RESULTS.values())
    other = [value.replace(b'"p1"', b'"r1"') for value in values_of_one]
    write(kafka, [(POSTS_WITH_COUNTS, b"r1", value) for value in other])
    ran(spark, kafka, project_posts(spark, kafka), "posts", POSTS_WITH_COUNTS)
    rows = spark.read.format("delta").load(table_path(kafka, tables.POSTS_WITH_COUNTS)).collect()
    assert [row.asDict()["likes"] for row in rows if row.post_id == "r1"] == [2]


@pytest.mark.parametrize(("days", "is_gone"), [(6, False), (8, True)])
def test_a_projection_that_was_away_too_long_for_a_tombstone_forgets_what_the_topic_has_forgotten(
    spark: SparkSession, kafka: Settings, tmp_path: Path, days: int, is_gone: bool
) -> None:
    ours = kafka.model_copy(update={"data_dir": tmp_path})
    write(kafka, [(POSTS_WITH_COUNTS, b"s1", counted(likes=2, version=1).replace(b'"p1"', b'"s1"'))])
    ran(spark, ours, project_posts(spark, ours), PROJECTED, POSTS_WITH_COUNTS)
    table = spark.read.format("delta").load(table_path(ours, tables.POSTS_WITH_COUNTS))
    deleted = table.where("post_id = 's1'").withColumn("post_id", F.lit("s2"))
    deleted.write.format("delta").mode("append").save(table_path(ours, tables.POSTS_WITH_COUNTS))
    log = ours.checkpoint_dir / PROJECTED / "offsets" / str(done_batch(ours.checkpoint_dir / PROJECTED))
    at = int((datetime.now(timezone.utc) - timedelta(days=days)).timestamp() * 1_000)
    log.write_text(re.sub(r'"batchTimestampMs":\d+', f'"batchTimestampMs":{at}', log.read_text()))
    log.with_name(f".{log.name}.crc").unlink(missing_ok=True)
    ran(spark, ours, project_posts(spark, ours), PROJECTED, POSTS_WITH_COUNTS)
    after = spark.read.format("delta").load(table_path(ours, tables.POSTS_WITH_COUNTS))
    assert {row.post_id for row in after.collect()} & {"s1", "s2"} == ({"s1"} if is_gone else {"s1", "s2"})


def test_a_ranking_of_the_longest_captions_is_published(spark: SparkSession, kafka: Settings) -> None:
    worst = {"user_id": "a" * 64, "image_url": "\1" * IMAGE_URL_MAX, "caption": "\1" * CAPTION_MAX}
    numbers = dict.fromkeys(("likes", "comments", "score"), 10**9)
    posts = [RankedPost(rank=rank, post_id=f"{rank:064}", **worst, **numbers) for rank in range(1, 51)]
    moments = dict.fromkeys(("window_start", "window_end", "generated_at"), "2026-11-20T14:00:00.000Z")
    value = Ranking(posts=posts, **moments).model_dump_json()
    assert len(value) > 1_048_576
    columns = "topic string, key string, value string"
    write_rankings(spark.createDataFrame([(TRENDING_POSTS, TRENDING_KEY, value)], columns), kafka)
    [(key, written)] = values(kafka, TRENDING_POSTS)
    change = ranking_change(Record(TRENDING_POSTS, 0, 0, key, written))
    assert len(change.ranking.posts) == 50
