"""A user is erased: out of counts, topics, tables, pictures, states, and out of every byte of the data dir."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from audit.job import audit
from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, format_time, new_event_id
from jobs import archive, posts_with_counts, trending_posts
from jobs.locks import only_one
from runtime.broker import embedded_broker
from runtime.forget import erase, refuse_while_jobs_run, what_remains
from runtime.scan import found_in
from runtime.topics import ensure_topics
from tests import reference
from tests.feeds.serving import free_ports
from tests.rebuild.earlier_checkpoint import PARTITIONS
from tests.rebuild.queries import run_once
from tests.rebuild.test_backfill import Reader

Fact = dict[str, Any]
WHO, CAPTION, COMMENT = "Ada-of-1815", "Dampfmaschinenballade", "Geheimwortspiel"
OWN, SHARED = (hashlib.sha256(picture).hexdigest() + ".jpg" for picture in (b"own", b"shared"))
MODULES = {module.NAME: module for module in (posts_with_counts, trending_posts, archive)}
WORDS = (WHO, CAPTION, COMMENT, OWN)


def fact(event_type: str, user: str, post: str, **more: str) -> Fact:
    when = format_time(datetime.now(timezone.utc) - timedelta(minutes=2))
    return {
        "event_id": new_event_id(),
        "event_type": event_type,
        "occurred_at": when,
        "user_id": user,
        "post_id": post,
    } | more


def history() -> list[Fact]:
    """The user's posts, likes and comments among those of others."""
    made = [fact("post_created", "bob", f"b{n}", image_url=f"/media/{SHARED}", caption="of bob") for n in range(8)]
    made += [fact("post_created", WHO, f"a{n}", image_url=f"/media/{OWN}", caption=CAPTION) for n in range(8)]
    made += [fact("post_created", WHO, "a9", image_url=f"/media/{SHARED}", caption="")]
    acts = [fact("post_liked", user, f"{kind}{n}") for user in (WHO, "cy") for kind in "ab" for n in range(8)]
    acts += [fact("comment_added", WHO, f"b{n}", comment_id="c1", text=COMMENT) for n in range(8)]
    acts += [fact("comment_added", "cy", f"{kind}{n}", comment_id="c2", text="well") for kind in "ab" for n in range(8)]
    acts += [fact("post_unliked", WHO, "b1"), fact("comment_deleted", WHO, "b2", comment_id="c1")]
    return made + acts


def write(settings: Settings, facts: list[Fact]) -> None:
    """Over all partitions; then what is no fact, one that names the user and one that does not."""
    with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        for one in facts:
            topic, value = FACT_BY_TYPE[one["event_type"]].topic, json.dumps(one).encode()
            producer.send(topic, key=one["post_id"].encode(), value=value, partition=int(one["post_id"][1:]) % 4)
        for at, value in enumerate((f'{{"user_id": "{WHO}"', "no fact", "none either", "nor this", "nor that")):
            producer.send("likes", key=b"x", value=value.encode(), partition=at % 4)
        producer.flush()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_port=free_ports(2), shuffle_partitions=PARTITIONS)


def msm(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    own = {
        "MSM_DATA_DIR": str(settings.data_dir),
        "MSM_KAFKA_PORT": str(settings.kafka_port),
        "MSM_SHUFFLE_PARTITIONS": str(PARTITIONS),
        "MSM_SPARK_MASTER": "local[2]",
    }
    command = [str(Path(sys.executable).with_name("msm")), *arguments]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)


def places(settings: Settings) -> set[str]:
    """The folders of the data dir in which one of the words is found."""
    hits = {path.relative_to(settings.data_dir) for path, _ in found_in(settings.data_dir, WORDS)}
    names = {"/".join(hit.parts[:2]) if hit.parts[0] != "kafka" else f"kafka/{hit.parts[2]}" for hit in hits}
    return {name.rpartition("-")[0] if name.startswith("kafka/") else name for name in names}


EVERYWHERE = {
    *(
        f"kafka/{topic}"
        for topic in ("posts", "likes", "comments", "posts_with_counts", "trending_posts", "dead_letters")
    ),
    *(f"checkpoints/{query}" for query in ("posts_with_counts", "trending_posts", "first_hour_engagement")),
    *(f"lake/{table}" for table in ("events", "post_facts", "posts_with_counts")),
}


@pytest.fixture
def lived_in(settings: Settings, broker: None, spark: SparkSession) -> list[Fact]:
    """A data dir in which the user has left something everywhere, and what was written."""
    facts = history()
    for name in (OWN, SHARED):
        settings.media_dir.mkdir(parents=True, exist_ok=True)
        (settings.media_dir / name).write_bytes(b"picture")
    ensure_topics(settings)
    write(settings, facts)
    run_once(spark, settings, posts_with_counts, trending_posts, archive)
    return facts


@pytest.fixture
def broker(settings: Settings) -> Iterator[None]:
    with embedded_broker(settings):
        yield


KAFKA_AND_STATES = {
    *(place for place in EVERYWHERE if not place.startswith("lake/")),
    "kafka/rising_posts",
}


@pytest.mark.kafka
@pytest.mark.spark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("with_facts", [True, False], ids=["facts too", "facts stay"])
def test_nothing_of_a_forgotten_user_is_left_and_the_rest_counts_as_before(
    settings: Settings, spark: SparkSession, lived_in: list[Fact], with_facts: bool
) -> None:
    assert places(settings) >= EVERYWHERE, "the scan would not see it"

    def run(jobs: Sequence[str]) -> None:
        run_once(spark, settings, *(MODULES[job] for job in jobs))

    done = erase(spark.newSession(), settings, WHO, with_facts, run, print)
    told = {removed.place for removed in done if removed.until}
    assert bool(told) != with_facts
    assert places(settings) <= (set() if with_facts else KAFKA_AND_STATES)
    assert [path.name for path in settings.media_dir.iterdir()] == [SHARED]
    expected = reference.posts_with_counts(one for one in lived_in if one["user_id"] != WHO)
    assert Reader(spark, settings).posts() == expected
    audited = audit(spark.newSession(), settings, False)
    assert (audited.archive, audited.as_json()["drift"]) == ([], 0), audited.as_json()
    table = DeltaTable(settings.lake_dir / "posts_with_counts").to_pyarrow_table().to_pylist()
    assert {(row["post_id"], row["likes"], row["comments"]) for row in table} == {
        (post_id, post.likes, post.comments) for post_id, post in expected.items()
    }


@pytest.mark.kafka
def test_without_the_facts_it_is_told_until_when_they_stay(settings: Settings, broker: None) -> None:
    ensure_topics(settings)
    now = datetime.now(timezone.utc)
    assert what_remains(settings, None) == []
    told = {removed.place: removed.until for removed in what_remains(settings, now)}
    assert told["facts in Kafka, state of the jobs"].startswith(f"{now + timedelta(days=365):%Y-%m-%d} (retention)")
    assert "--facts removes it now" in told["result topics"]


@pytest.fixture
def busy(settings: Settings) -> Iterator[Settings]:
    with only_one(settings.run_dir, "archive"):
        (settings.run_dir / "archive.json").write_text(json.dumps({"pid": os.getpid()}))
        yield settings


def test_nobody_is_forgotten_while_a_job_runs(busy: Settings) -> None:
    with pytest.raises(SystemExit, match=r"archive still runs on .*: make down"):
        refuse_while_jobs_run(busy)


def test_a_rebuild_that_holds_the_user_too_is_named(settings: Settings) -> None:
    settings.beside_dir.mkdir(parents=True)
    (settings.beside_dir / "role.json").write_text('{"role": "before"}')
    with pytest.raises(SystemExit, match="has the user too: make backfill ARGS=drop"):
        refuse_while_jobs_run(settings)


def test_what_is_no_user_is_refused(settings: Settings) -> None:
    done = msm(settings, "forget", "a b", "--yes")
    assert done.returncode == 1
    assert "'a b' is no user" in done.stderr
