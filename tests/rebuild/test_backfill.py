"""Counting anew on a real broker: from Kafka and the archive; compared, switched, rolled back."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from conf.settings import Settings
from contract import tables
from contract.facts import FACT_TOPICS, parse_time
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS, result_topic
from jobs import archive, generations, posts_with_counts, trending_posts
from jobs.checkpoints import made, seed_name
from jobs.generations import Comparison
from jobs.harness import now, read_records
from jobs.offsets import beginnings
from jobs.sinks.lake import append, table_path
from jobs.transforms.generations import newest_posts
from jobs.transforms.ranking import PastHour
from runtime import backfill, beside
from runtime.children import held
from runtime.forget import _remove_read_seeds
from runtime.renewal import delete_before
from tests import reference
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import run_once
from tests.rebuild.test_interrupted_batches import within_the_hour
from tests.stack.hostile import fact, in_topic, read

pytestmark = [
    pytest.mark.spark,
    pytest.mark.kafka,
    pytest.mark.usefixtures("commands"),
]
CONSOLE = Console(file=StringIO())


class KilledError(Exception):
    """As by kill -9."""


def count(spark: SparkSession, settings: Settings) -> None:
    run_once(spark, settings, posts_with_counts)


def smuggle(settings: Settings, post: dict[str, Any], seen: str | None = None) -> None:
    headers = [("seen", seen.encode())] if seen else []
    with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        producer.send(POSTS_WITH_COUNTS, json.dumps(post).encode(), post["post_id"].encode(), headers)
        producer.flush()


def expire(settings: Settings, *topics: str) -> None:
    """Kafka has the first two records of each partition no more."""
    first = beginnings(settings, topics)
    delete_before(settings, {t: {n: offset + 2 for n, offset in parts.items()} for t, parts in first.items()})


def seen(spark: SparkSession, settings: Settings, beside: bool) -> dict[str, str]:
    """What the last record of each post in a topic says of the facts that are in."""
    records = read_records(spark, settings, result_topic(POSTS_WITH_COUNTS, beside))
    return {row.post_id: row.seen for row in records.transform(newest_posts).collect()}


def test_what_kafka_has_no_more_comes_from_the_archive_and_a_wrong_row_is_found_switched_away_and_back(
    spark: SparkSession, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(broker, facts_before())
    run_once(spark, broker, posts_with_counts, archive)
    expire(broker, *FACT_TOPICS)
    new, truth = beside.beside(broker), reference.posts_with_counts(facts_before())
    assert in_topic(broker, "") == truth
    wrong, stuck = "p8", "p7"  # nothing comes for them later
    for post_id, facts in ((wrong, None), (stuck, '{"likes":[0,0]}')):
        lie = {"post_id": post_id, **vars(truth[post_id]), "likes": 999, "updated_at": "x", "version": 1_000}
        smuggle(broker, lie, facts)

    looks = list[DataFrame]()

    def look(*arguments: Any) -> DataFrame:
        """Live reads the newest post after the first look."""
        if len(looks) == 1:
            count(spark, broker)
        looks.append(generations.both_tellings(*arguments))
        return looks[-1]

    newest = [fact("post_created", "ada", post, image_url="/a.jpg", caption="") for post in ("p70", "p71")]
    write(broker, newest[:1])
    with monkeypatch.context() as patched:
        patched.setattr(backfill, "both_tellings", look)
        patched.setattr(backfill, "ROUNDS", 3)
        patched.setattr(backfill, "PAUSE", 0)
        found = backfill.build(broker, False, CONSOLE)
    assert len(looks) == 3
    assert any((broker.seeds_dir / seed_name(new.checkpoint_dir / "posts_with_counts")).glob("*.parquet"))
    assert found.posts == {"equal": len(truth) - 1, "different": 2}
    assert [(row.post_id, row.live.post.likes) for row in found.first] == [(wrong, 999), (stuck, 999)]
    assert in_topic(broker, "")[wrong].likes == 999  # nothing was switched

    roles, late = list[str](), newest[1:]

    @contextmanager
    def held_late(settings: Settings, jobs: Sequence[str]) -> Iterator[None]:
        """Something more comes before live is held; it does not read that."""
        write(broker, late)
        late.clear()
        with held(settings, jobs):
            yield
            roles.append(beside.role(settings))

    monkeypatch.setattr(backfill, "held", held_late)
    write(broker, facts_before()[-30:])  # again, some of a deleted post
    refused = backfill.switch(broker, backfill.REBUILT, False, CONSOLE)
    assert refused is not None
    assert refused.posts == {"equal": len(truth) - 1, "different": 1, "moving": 2}
    was_seen, all_seen = (seen(spark, broker, side) for side in (False, True))
    assert sum(was_seen.get(post) != all_seen[post] for post in all_seen.keys() - {wrong, stuck}) > 2
    backfill.switch(broker, backfill.REBUILT, True, CONSOLE)
    assert in_topic(broker, "") == reference.posts_with_counts([*facts_before(), *newest])
    assert seen(spark, broker, False) == all_seen
    assert _remove_read_seeds(broker).what != "0 files"
    assert made(broker.checkpoint_dir / "posts_with_counts")["term"] == 1
    write(broker, facts_after())
    count(spark, broker)
    now = reference.posts_with_counts([*facts_before(), *newest, *facts_after()])
    assert in_topic(broker, "") == now

    def is_killed(_: Settings) -> None:
        raise KilledError

    with monkeypatch.context() as killed:
        killed.setattr(beside, "change_places", is_killed)
        with pytest.raises(KilledError):
            backfill.switch(broker, backfill.BEFORE, True, CONSOLE)
    assert backfill.switch(broker, backfill.BEFORE, True, CONSOLE) is None  # it finishes what was begun
    assert roles == [backfill.REBUILT, backfill.BEFORE, backfill.REBUILT]
    assert made(broker.checkpoint_dir / "posts_with_counts")["term"] == 2
    assert in_topic(broker, "") == now | {post: replace(now[post], likes=999) for post in (wrong, stuck)}


def count_a_minute_twice(spark: SparkSession, settings: Settings) -> None:
    """One in the middle of the hour in which something stands, in the next ranking too, also of the next hour."""
    path = table_path(settings, tables.ENGAGEMENT_BY_MINUTE)
    panes = spark.read.format("delta").load(path)
    judging = {PastHour.at(now() + timedelta(minutes=ahead)).judged_from for ahead in (-2, 0, 5)}
    likes = F.sum("judged_likes").alias("likes")
    stands = panes.groupBy("judged_from", "post_id", "minute").agg(likes).where("likes > 0")
    judged = stands.where(F.col("judged_from").isin(*judging)).groupBy("post_id", "minute").count()
    minutes = judged.where(F.col("count") == len(judging)).orderBy("minute", "post_id").collect()
    post_id, minute, _ = minutes[len(minutes) // 2]
    append(panes.where((F.col("post_id") == post_id) & (F.col("minute") == minute)).localCheckpoint(), path)


def test_rankings_are_counted_anew_too_and_a_wrong_minute_is_found_and_switched_away(
    spark: SparkSession, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "ROUNDS", 2)
    facts = within_the_hour(facts_before())
    write(broker, facts)
    run_once(spark, broker, posts_with_counts, archive, trending_posts)
    expire(broker, "posts")
    posts = {"equal": len(reference.posts_with_counts(facts))}
    assert backfill.build(broker, True, CONSOLE) == Comparison(posts)
    count_a_minute_twice(spark, broker)
    assert backfill.compare_only(broker, CONSOLE) == Comparison(posts, minutes=1)
    backfill.switch(broker, backfill.REBUILT, False, CONSOLE)
    run_once(spark, broker, trending_posts)
    *_, newest = read(broker, TRENDING_POSTS)
    ranking = json.loads(newest.value)
    places = [reference.Ranked(p["post_id"], p["likes"], p["comments"], p["score"]) for p in ranking["posts"]]
    assert places == reference.trending(facts, parse_time(ranking["window_end"])) != []


def test_a_new_checkpoint_stays_below_what_readers_have(spark: SparkSession, broker: Settings, tmp_path: Path) -> None:
    write(broker, facts_before())
    count(spark, broker)
    post = json.loads(read_records(spark, broker, POSTS_WITH_COUNTS).where("value is not null").first().value)
    smuggle(broker, {**post, "version": post["version"] + 5 * (1 << 40)})
    count(spark, broker.model_copy(update={"data_dir": tmp_path / "again"}))
    assert made(tmp_path / "again" / "checkpoints" / "posts_with_counts")["term"] == 5
