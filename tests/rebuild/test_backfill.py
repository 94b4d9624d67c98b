"""Counting anew on a real broker: from Kafka and the archive; compared, switched, rolled back."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pyspark.sql import SparkSession
from rich.console import Console

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS, result_topic
from jobs import archive, posts_with_counts
from jobs.checkpoints import made, seed_name
from jobs.generations import STAGED, both_tellings, judge, stage
from jobs.harness import read_records
from jobs.offsets import beginnings
from jobs.transforms.generations import newest_posts
from runtime import backfill, beside
from runtime.forget import _remove_read_seeds
from runtime.renewal import delete_before
from tests import reference
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import run_once

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.timeout(600)]


class Reader:
    """A reader of the contract's topic that keeps the highest version of each post."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings

    def posts(self) -> dict[str, reference.Post]:
        rows = read_records(self._spark, self._settings, POSTS_WITH_COUNTS).orderBy("partition", "offset").collect()
        known: dict[str, dict[str, Any] | None] = {}
        highest: dict[str, int] = {}
        for row in rows:
            post = json.loads(row.value) if row.value else None
            post_id = row.key.decode()
            if post is None or post["version"] > highest.get(post_id, -1):
                known[post_id] = post
                highest[post_id] = post["version"] if post else highest.get(post_id, -1)
        return {post_id: reference.Post.of(post) for post_id, post in known.items() if post}


def count(spark: SparkSession, settings: Settings) -> None:
    run_once(spark, settings, posts_with_counts)


def smuggle(settings: Settings, post: dict[str, Any]) -> None:
    with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        producer.send(POSTS_WITH_COUNTS, key=post["post_id"].encode(), value=json.dumps(post).encode())
        producer.flush()


def seen(spark: SparkSession, settings: Settings, beside: bool) -> dict[str, str]:
    """What the last record of each post in a topic says of the facts that are in."""
    records = read_records(spark, settings, result_topic(POSTS_WITH_COUNTS, beside))
    return {row.post_id: row.seen for row in records.transform(newest_posts).collect()}


def switch(spark: SparkSession, settings: Settings, role: str) -> None:
    """The switch, both jobs being down."""
    stage(both_tellings(spark, settings), settings.beside_dir / STAGED)
    backfill.make_plan(spark, settings, role)
    backfill.finish(spark, settings)


def test_what_kafka_has_no_more_comes_from_the_archive_and_a_wrong_row_is_found_switched_away_and_back(
    spark: SparkSession, broker: Settings
) -> None:
    reader, new = Reader(spark, broker), beside.beside(broker)
    write(broker, facts_before())
    count(spark, broker)
    run_once(spark, broker, archive)
    expired = {topic: {number: offset + 2 for number, offset in parts.items()} for topic, parts in
               beginnings(broker, FACT_TOPICS).items()}  # fmt: skip
    delete_before(broker, expired)
    truth = reference.posts_with_counts(facts_before())
    assert reader.posts() == truth
    wrong = "p8"  # nothing comes for it later
    smuggle(broker, {"post_id": wrong, **vars(truth[wrong]), "likes": 999, "updated_at": "x", "version": 1_000})

    backfill.prepare(spark, broker, [backfill.COUNTS], Console(file=StringIO()))
    assert any((broker.seeds_dir / seed_name(new.checkpoint_dir / "posts_with_counts")).glob("*.parquet"))
    count(spark, new)
    found = judge(both_tellings(spark, broker))
    assert found.posts == {"equal": len(truth) - 1, "different": 1}
    assert [(row.post_id, row.live.post.likes) for row in found.first] == [(wrong, 999)]

    write(broker, facts_before()[-30:])  # again, some of a deleted post: live is held and does not read them
    count(spark, new)
    all_read = seen(spark, broker, True)
    assert sum(seen(spark, broker, False)[post] != all_read[post] for post in all_read.keys() - {wrong}) > 1
    switch(spark, broker, backfill.REBUILT)
    assert reader.posts() == truth
    assert seen(spark, broker, False) == all_read
    assert _remove_read_seeds(broker).what != "0 files"
    assert (beside.role(broker), made(broker.checkpoint_dir / "posts_with_counts")["term"]) == (backfill.BEFORE, 1)
    write(broker, facts_after())
    count(spark, broker)
    now = reference.posts_with_counts([*facts_before(), *facts_after()])
    assert reader.posts() == now

    count(spark, new)
    switch(spark, broker, backfill.BEFORE)
    assert made(broker.checkpoint_dir / "posts_with_counts")["term"] == 2
    assert reader.posts() == {**now, wrong: replace(now[wrong], likes=999)}


def test_a_new_checkpoint_stays_below_what_readers_have(spark: SparkSession, broker: Settings, tmp_path: Path) -> None:
    write(broker, facts_before())
    count(spark, broker)
    post = json.loads(read_records(spark, broker, POSTS_WITH_COUNTS).where("value is not null").first().value)
    smuggle(broker, {**post, "version": post["version"] + 5 * (1 << 40)})
    count(spark, broker.model_copy(update={"data_dir": tmp_path / "again"}))
    assert made(tmp_path / "again" / "checkpoints" / "posts_with_counts")["term"] == 5
