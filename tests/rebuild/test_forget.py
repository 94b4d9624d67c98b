"""A user is erased: out of counts, topics, tables, pictures, states, and out of every byte of the data dir."""

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow
import pyarrow.parquet as parquet
import pytest
from deltalake import DeltaTable
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from pyspark.sql import SparkSession
from rich.console import Console

from audit.job import audit
from conf.settings import Settings
from contract.results import SEEN_HEADER
from contract.topics import POSTS_WITH_COUNTS, RESULT_TOPICS
from feeds.explain import Explanation, explanation
from feeds.records import Record, post_change
from jobs import archive, posts_with_counts, trending_posts
from jobs.erasure import letters_that_stay, posts_of
from jobs.offsets import Offsets
from jobs.running import FORGET, only_one
from runtime import forget, renewal
from runtime.admin import admin_client
from runtime.children import refuse_while_used
from runtime.forget import what_remains
from runtime.renewal import wait_until_swept
from runtime.scan import found_in
from tests import reference
from tests.rebuild.earlier_checkpoint import write
from tests.rebuild.queries import Running, all_for, has_read, run_once, running
from tests.stack.hostile import Fact, fact, in_topic, read

WHO, CAPTION, COMMENT = "Ada-of-1815", "Dampfmaschinenballade", "Geheimwortspiel"
OWN, SHARED = (hashlib.sha256(picture).hexdigest() + ".jpg" for picture in (b"own", b"shared"))
WORDS = (WHO, CAPTION, COMMENT, OWN)


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


def write_junk(settings: Settings) -> None:
    """What is no fact, over all partitions: one that names the user, and others that do not."""
    with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        for at, value in enumerate((f'{{"user_id": "{WHO}"', "no fact", "none either", "nor this", "nor that")):
            producer.send("likes", key=b"x", value=value.encode(), partition=at % 4)
        producer.flush()


def places(settings: Settings) -> set[str]:
    """The folders of the data dir in which one of the words is found."""
    hits = {path.relative_to(settings.data_dir) for path, _ in found_in(settings.data_dir, WORDS)}
    names = {"/".join(hit.parts[:2]) if hit.parts[0] != "kafka" else f"kafka/{hit.parts[2]}" for hit in hits}
    return {name.rpartition("-")[0] if name.startswith("kafka/") else name for name in names}


def unexplained(settings: Settings) -> dict[str, Explanation]:
    """The posts whose published numbers are not what the archive makes them."""
    newest = {}
    for one in read(settings, POSTS_WITH_COUNTS):
        seen = dict(one.headers).get(SEEN_HEADER)
        change = post_change(Record(one.topic, one.partition, one.offset, one.key, one.value, seen))
        newest[change.post_id] = change
    told = {name: explanation(settings, name, one.post, one.seen, 0) for name, one in newest.items() if one.post}
    return {name: one for name, one in told.items() if not one.closes}


EVERYWHERE = {
    *(
        f"kafka/{topic}"
        for topic in ("posts", "likes", "comments", "posts_with_counts", "trending_posts", "dead_letters")
    ),
    *(f"checkpoints/{query}" for query in ("posts_with_counts", "trending_posts", "first_hour_engagement")),
    *(f"lake/{table}" for table in ("events", "post_facts", "posts_with_counts")),
}


@pytest.fixture
def lived_in(broker: Settings, spark: SparkSession) -> list[Fact]:
    """A data dir in which the user has left something everywhere, and what was written."""
    facts = history()
    for name in (OWN, SHARED):
        broker.media_dir.mkdir(parents=True, exist_ok=True)
        (broker.media_dir / name).write_bytes(b"picture")
    write(broker, facts)
    write_junk(broker)
    run_once(spark, broker, posts_with_counts, trending_posts, archive)
    with KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:  # the archive has not read it
        producer.send("likes", key=b"x", value=f'{{"post_id": "{WHO}"'.encode(), partition=0).get(30)
    return facts


KAFKA_AND_STATES = {
    *(place for place in EVERYWHERE if not place.startswith("lake/")),
    "kafka/rising_posts",
}


def swept_before_compaction(broker: Settings, settings: Settings, offsets: Offsets) -> list[str]:
    with closing(admin_client(broker)) as admin:
        said = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in RESULT_TOPICS])
    policies = {topic: said["topic"][topic]["cleanup.policy"]["value"] for topic in RESULT_TOPICS}
    assert policies == dict.fromkeys(RESULT_TOPICS, "delete")
    return wait_until_swept(settings, offsets)


@pytest.mark.kafka
@pytest.mark.spark
@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("with_facts", [True, False], ids=["facts too", "facts stay"])
def test_nothing_of_a_forgotten_user_is_left_and_the_rest_counts_as_before(
    broker: Settings, spark: SparkSession, lived_in: list[Fact], with_facts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = broker.seeds_dir / "seed" / "part-0.parquet"
    seed.parent.mkdir(parents=True)
    parquet.write_table(pyarrow.table({"value": [f'{{"user_id": "{WHO}"}}']}), seed)
    assert places(broker) >= EVERYWHERE | {"seeds/seed"}, "the scan would not see it"

    @contextmanager
    def run(settings: Settings, jobs: Sequence[str], _: Any) -> Iterator[Running]:
        """The archive first, so that it has not read all results when the facts are counted."""
        assert (broker.data_dir / FORGET).exists() == with_facts
        with running(spark, settings, jobs[::-1]) as started:
            yield started
            queries = [query for queries in started.values() for query in queries]
            assert all(has_read(query, settings, all_for(query, settings)) for query in queries)

    monkeypatch.setattr(forget, "running_jobs", run)
    monkeypatch.setattr(renewal, "ROLL_MS", 1_000)
    monkeypatch.setattr(forget, "wait_until_swept", swept := Mock(wraps=partial(swept_before_compaction, broker)))
    done = forget.forget(broker, WHO, with_facts, Console(file=StringIO()))
    assert swept.called == with_facts
    told = {removed.place for removed in done if removed.until}
    assert bool(told) != with_facts
    assert not (broker.data_dir / FORGET).exists()
    assert places(broker) <= (set() if with_facts else KAFKA_AND_STATES)
    assert [path.name for path in broker.media_dir.iterdir()] == [SHARED]
    expected = reference.posts_with_counts(one for one in lived_in if one["user_id"] != WHO)
    assert in_topic(broker, "") == expected
    assert unexplained(broker) == {}
    audited = audit(spark.newSession(), broker, False)
    assert (audited.archive, audited.as_json()["drift"]) == ([], 0), audited.as_json()
    archived = {row["value"] for row in DeltaTable(broker.lake_dir / "events").to_pyarrow_table().to_pylist()}
    assert archived >= {b"no fact", b"none either", b"nor this", b"nor that"}
    table = DeltaTable(broker.lake_dir / "posts_with_counts").to_pyarrow_table().to_pylist()
    assert sorted((row["post_id"], row["likes"], row["comments"]) for row in table) == sorted(
        (post_id, post.likes, post.comments) for post_id, post in expected.items()
    )


def test_of_brokers_elsewhere_the_time_of_a_sweep_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[float]()
    monkeypatch.setattr(forget.time, "sleep", waited.append)
    removed = forget._swept(Settings(kafka_bootstrap="elsewhere:9092"), {"likes": {0: 1}}, 420, print)
    assert (waited, removed.until.partition(";")[0]) == ([420], "out of reach")


@pytest.mark.spark
def test_a_post_is_of_whoever_created_it_first(spark: SparkSession) -> None:
    creations = [
        ("bobs", "2026-11-20T12:00:00.000Z", "1", "bob"),
        ("bobs", "2026-11-20T12:00:00.001Z", "0", WHO),  # under the id of another's post
        ("own", "2026-11-20T12:00:00.000Z", "3", "bob"),
        ("own", "2026-11-20T12:00:00.000Z", "2", WHO),
        ("own", "2026-11-20T12:00:00.000Z", "2", WHO),
    ]
    columns = ["post_id", "occurred_at", "event_id", "user_id", "event_type"]
    liked = ("liked", "2026-11-20T12:00:00.000Z", "4", WHO, "post_liked")
    known = spark.createDataFrame([liked, *((*one, "post_created") for one in creations)], columns)
    assert [row.post_id for row in posts_of(known, WHO).collect()] == ["own"]


@pytest.mark.spark
@pytest.mark.parametrize("user", ["17", "likes", "user_id", "not_json", "key", "UTC"])
def test_a_letter_of_a_record_that_does_not_name_the_user_stays(spark: SparkSession, user: str) -> None:
    said = {"reason": "not_json", "detail": "user_id UTC", "topic": "likes", "partition": 17, "offset": 17}
    letters = [
        (b"x", json.dumps({**said, "arrived_at": "2026-11-20T17:17:17.017Z", "key": "x", "value": value}).encode(), 17)
        for value in ("nobody", f"by {user}")
    ]
    stays = letters_that_stay(spark.createDataFrame(letters, "key binary, value binary, partition int"), user)
    assert [json.loads(row.value)["value"] for row in stays.collect()] == ["nobody"]


@pytest.mark.spark
def test_a_letter_that_names_the_user_in_base64_does_not_stay(spark: SparkSession) -> None:
    def letter(offset: int, value: bytes, encoded: bool) -> tuple[bytes, bytes, int]:
        said: dict[str, Any] = {"topic": "likes", "partition": 0, "offset": offset}
        text = {"value": b64encode(value).decode(), "encoding": "base64"} if encoded else {"value": value.decode()}
        return b"x", json.dumps(said | text).encode(), 0

    named, other = b"\xff" + json.dumps({"user_id": WHO}).encode(), b"\xff nobody"
    no_base64 = json.dumps({"topic": "likes", "offset": 5, "value": "*", "encoding": "base64"}).encode()
    letters = spark.createDataFrame(
        [
            letter(1, named, True),
            letter(2, other, True),
            letter(3, WHO.encode(), False),
            letter(4, b64encode(named), False),  # a text that somebody wrote
            letter(6, f"p1\t{WHO}\tliked".encode(), False),  # in JSON the name comes right after a letter
            letter(7, b"p1\tnobody\tliked", False),
            (b"x", no_base64, 0),
        ],
        "key binary, value binary, partition int",
    )
    stays = [json.loads(row.value)["offset"] for row in letters_that_stay(letters, WHO).collect()]
    assert sorted(stays) == [2, 4, 5, 7]


@pytest.mark.kafka
def test_without_the_facts_it_is_told_until_when_they_stay(broker: Settings) -> None:
    now = datetime.now(timezone.utc)
    assert what_remains(broker, False) == []
    told = {removed.place: removed.until for removed in what_remains(broker, True)}
    days = {f"{moment + timedelta(days=365):%Y-%m-%d} (retention)" for moment in (now, datetime.now(timezone.utc))}
    assert told["state of the counts"].startswith("for ever")
    assert told["facts in Kafka, state of the rankings"].partition(";")[0] in days
    assert "--facts removes it now" in told["result topics"]


def test_nobody_is_forgotten_while_a_job_runs_or_starts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    refuse_while_used(settings, "the user")
    with (
        only_one(settings.run_dir, "archive"),
        pytest.raises(SystemExit, match=r"archive still runs on .*: make down"),
    ):
        refuse_while_used(settings, "the user")
    (settings.run_dir / "archive.json").write_text(json.dumps({"pid": os.getpid()}))
    refuse_while_used(settings, "the user")  # of one that was killed: its process id is another process's by now


def test_a_rebuild_that_holds_the_user_too_is_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.beside_dir.mkdir(parents=True)
    (settings.beside_dir / "role.json").write_text('{"role": "before"}')
    with pytest.raises(SystemExit, match="has the user too: make backfill ARGS=drop"):
        refuse_while_used(settings, "the user")
