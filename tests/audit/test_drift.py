"""One like smuggled in anywhere is drift; a stack that nobody touched has none."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from audit import job, part, rankings
from audit.job import audit
from audit.offsets import CannotAuditError
from conf.http import get
from conf.settings import Settings
from contract import tables
from contract.facts import format_time
from contract.results import TRENDING_KEY, Ranking
from contract.topics import DEAD_LETTERS, POSTS_WITH_COUNTS, TRENDING_POSTS
from feeds import refresh_feed, trending_feed
from jobs import archive, posts_with_counts, realtime
from jobs.harness import now
from service.app import build_app
from tests.feeds.serving import served, wait_for
from tests.rebuild.queries import run_once
from tests.stack.hostile import Fact, fact, hostile_facts, read, write
from tests.stack.test_exact import write_broken

pytestmark = [pytest.mark.spark, pytest.mark.kafka]
POSTS = [f"p{number:02}" for number in range(1, 10)]


def story() -> list[Fact]:
    """Nine posts with two likes and a comment each, and forty that are contested."""
    facts = [fact("post_created", "ada", post, image_url="/a.jpg", caption=post) for post in POSTS]
    facts += [fact("post_liked", user, post) for post in POSTS for user in ("bob", "cy")]
    facts += [fact("comment_added", "bob", post, comment_id="c1", text="nice") for post in POSTS]
    return facts + hostile_facts(seed=3, number=400)


@pytest.fixture(scope="module")
def stack(spark: SparkSession, kafka: Settings) -> Iterator[Settings]:
    """Broker, counted and archived facts, and both feeds."""
    write(kafka, story())
    write_broken(kafka)
    run_once(spark, kafka, posts_with_counts, archive)
    app = build_app([refresh_feed.SERVICE, trending_feed.SERVICE], kafka)
    with served(app) as url:
        wait_for(lambda: app.state.refresh_feed.consumer.caught_up and app.state.trending_feed.consumer.caught_up)
        settings = kafka.counting_in_batches()
        yield settings.model_copy(update={"http_port": int(url.rsplit(":", 1)[1])})


@pytest.fixture(scope="module")
def clean(spark: SparkSession, stack: Settings) -> dict[str, Any]:
    return audit(spark.newSession(), stack, from_kafka=False).as_json()


@pytest.fixture(scope="module")
def smuggled(spark: SparkSession, stack: Settings, clean: dict[str, Any]) -> dict[str, Any]:
    """What the audit says after all of it; each post has a trouble of its own."""
    smuggle_into_table(stack)
    smuggle_into_topic(stack)
    smuggle_into_letters(stack)
    smuggle_into_feed(stack)
    hold_up_rankings(stack)
    smuggle_into_archive(stack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rankings, "PATIENCE_SECONDS", 2.0)
        return audit(spark.newSession(), stack, from_kafka=False).as_json()


def smuggle_into_table(stack: Settings) -> None:
    table = DeltaTable(stack.lake_dir / tables.POSTS_WITH_COUNTS)
    table.update(updates={"likes": "likes + 1"}, predicate="post_id = 'p01'")
    table.delete("post_id = 'p02'")


def smuggle_into_topic(stack: Settings) -> None:
    rows = {record.key.decode(): record for record in read(stack, POSTS_WITH_COUNTS)}
    producer = KafkaProducer(bootstrap_servers=stack.bootstrap, acks="all")

    def publish(post_id: str, headers: Any, **changed: int) -> None:
        body = {**json.loads(rows[post_id].value), **changed}
        value = json.dumps(body).encode() if changed else None
        producer.send(POSTS_WITH_COUNTS, key=post_id.encode(), value=value, headers=headers).get(20)

    publish("p03", rows["p03"].headers, likes=3)
    publish("p04", rows["p04"].headers, likes=3, version=5)
    publish("p05", [], likes=3, version=5)
    lie = {**json.loads(dict(rows["p06"].headers)["seen"]), "likes": [0, 9_999]}
    publish("p06", [("seen", json.dumps(lie).encode())], version=5)
    publish("p07", rows["p07"].headers)
    producer.close()


def smuggle_into_letters(stack: Settings) -> None:
    """One as a task writes it that is run again, and one that says something else."""
    same, other, *_ = read(stack, DEAD_LETTERS)
    changed = json.dumps({**json.loads(other.value), "detail": "another"}).encode()
    with KafkaProducer(bootstrap_servers=stack.bootstrap, acks="all") as producer:
        for key, value in ((same.key, same.value), (other.key, changed)):
            producer.send(DEAD_LETTERS, key=key, value=value).get(20)


def hold_up_rankings(stack: Settings) -> None:
    """The feed shows a ranking of yesterday, and nothing that comes."""
    times = dict.fromkeys(("window_start", "window_end", "generated_at"), format_time(now()))
    body = Ranking(posts=[], **times).model_dump_json().encode()
    with KafkaProducer(bootstrap_servers=stack.bootstrap, acks="all") as producer:
        producer.send(TRENDING_POSTS, key=TRENDING_KEY.encode(), value=body).get(20)
    wait_for(lambda: get(f"http://127.0.0.1:{stack.http_port}/trending", 10) == body)
    old = format_time(now() - timedelta(days=1))
    with closing(sqlite3.connect(stack.feeds_dir / "trending_feed.sqlite")) as store:
        store.execute("update rankings set body = json_set(body, '$.generated_at', ?)", [old])
        store.commit()


def smuggle_into_feed(stack: Settings) -> None:
    with closing(sqlite3.connect(stack.feeds_dir / "refresh_feed.sqlite")) as store:
        changed = store.execute("update posts set body = json_set(body, '$.likes', 3) where post_id = 'p08'")
        assert changed.rowcount == 1
        store.commit()


def smuggle_into_archive(stack: Settings) -> None:
    path = stack.lake_dir / tables.EVENTS
    rows = DeltaTable(path).to_pyarrow_table()
    keep = [at for at, value in enumerate(rows["value"].to_pylist()) if b'"post_id": "p09"' in (value or b"")]
    write_deltalake(path, rows.take(keep[-1:]), mode="append")


def why(report: dict[str, Any], post_id: str) -> list[str]:
    sentences: list[str] = next((row["why"] for row in report["first"] if row["post_id"] == post_id), [])
    return sentences


def test_what_nobody_touched_has_no_drift(clean: dict[str, Any]) -> None:
    assert clean["drift"] == 0, clean
    assert clean["compared"] == ["the topic", "the table", "the feed", "the feed of rankings"]
    assert clean["posts"] >= len(POSTS)


def test_the_sum_closes(clean: dict[str, Any], stack: Settings) -> None:
    assert clean["facts"] == len(story()) + 6 == clean["counted"] + clean["superseded"] + clean["dead"]
    assert (clean["dead"], clean["waiting"]) == (6, 0)


@pytest.mark.parametrize(
    ("post_id", "sentence"),
    [
        pytest.param("p01", "the table's row is not the topic's", id="a like in the table"),
        pytest.param("p02", "the table's row is not the topic's", id="a row gone from the table"),
        pytest.param("p03", "the topic has two rows of one version that differ", id="a like in the topic"),
        pytest.param("p04", "the topic's row is not what the statement make of its facts", id="a new version"),
        pytest.param("p05", "the topic's row has no header `seen`", id="a row without its header"),
        pytest.param("p06", "the topic's row is not what the transforms make of its facts", id="a header that lies"),
        pytest.param("p07", "the topic has no row of a post that the transforms have", id="a tombstone"),
        pytest.param("p08", "the feed's answer is not the topic's row", id="a like in the feed's store"),
        pytest.param("p09", "the topic's row is not what the statement make of its facts", id="a record twice"),
    ],
)
def test_what_is_smuggled_in_is_drift(smuggled: dict[str, Any], post_id: str, sentence: str) -> None:
    assert sentence in why(smuggled, post_id), smuggled["first"]


def test_nothing_else_is_drift(smuggled: dict[str, Any]) -> None:
    assert [row["post_id"] for row in smuggled["first"]] == POSTS
    assert smuggled["drift_posts"] == len(POSTS)


def test_each_source_is_quoted(smuggled: dict[str, Any]) -> None:
    first = smuggled["first"][0]
    likes = {name: first[name]["likes"] for name in ("topic", "transforms", "statement", "table", "feed")}
    assert likes == {"topic": 2, "transforms": 2, "statement": 2, "table": 3, "feed": 2}


def test_a_record_that_the_archive_has_twice_is_named(smuggled: dict[str, Any]) -> None:
    assert len(smuggled["archive"]) == 1
    assert smuggled["archive"][0].startswith("comments, partition ")


def test_a_feed_that_shows_old_rankings_is_named(clean: dict[str, Any], smuggled: dict[str, Any]) -> None:
    assert clean["rankings"] == []  # before the first one it makes an empty one of its own
    assert smuggled["rankings"] == ["trending: the feed's answer is none of the topic's last rankings"]


def test_a_dead_letter_that_says_two_things_is_named_and_one_written_twice_is_not(smuggled: dict[str, Any]) -> None:
    assert smuggled["drift_letters"] == 1
    assert smuggled["first_letters"][0]["times"] == 2


def test_parts_find_together_what_an_audit_of_all_finds(
    spark: SparkSession, stack: Settings, smuggled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(part, "RECORDS", smuggled["records"] // 2 + 1)
    found = [audit(spark.newSession(), stack, from_kafka=False, turn=turn).as_json() for turn in range(2)]
    assert [(one["part"], one["parts"]) for one in found] == [(0, 2), (1, 2)]
    posts = [[row["post_id"] for row in one["first"]] for one in found]
    assert sorted([*posts[0], *posts[1]]) == POSTS
    assert all(posts)
    for one in found:
        assert all(why(one, row["post_id"]) == why(smuggled, row["post_id"]) for row in one["first"])
        assert one["closes"]
        same = ("archived", "dead", "archive", "rankings", "drift_letters")
        assert {name: one[name] for name in same} == {name: smuggled[name] for name in same}
    for name in ("posts", "counted", "superseded", "waiting", "drift_posts"):
        assert sum(one[name] for one in found) == smuggled[name], name


def test_facts_that_come_after_wait_and_in_real_time_what_came_this_moment_is_judged_as_far_as_it_can_be(
    spark: SparkSession, stack: Settings, smuggled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "PYTHON", Path("/on/another/machine"))
    monkeypatch.setattr(job, "UNDER_WAY", timedelta(hours=1))
    monkeypatch.setattr(rankings, "PATIENCE_SECONDS", 0.0)
    write(stack, [fact("post_liked", "di", "p01"), fact("post_liked", "di", "p08")])
    with KafkaProducer(bootstrap_servers=stack.bootstrap, acks="all") as producer:
        producer.send("likes", b"no fact, and the archive has not read it").get(20)
    live = stack.model_copy(update={"counts_trigger": "real-time"})
    found = audit(spark.newSession(), live, from_kafka=True).as_json()
    assert found["waiting"] == 2 + 2  # those of p06; what p05's row does not say, the one before it does
    assert smuggled["unsettled"] == 0
    # A tombstone may be on its way; and the archive is not asked, and so has nothing twice.
    assert found["unsettled"] == 1
    assert why(found, "p07") != why(smuggled, "p07")
    for post_id in set(POSTS) - {"p07", "p09"}:
        assert why(found, post_id)[:1] == why(smuggled, post_id)[:1] != [], post_id
    assert found["records"] == smuggled["records"] - 1 + 3
    assert (found["dead"], found["drift_letters"]) == (smuggled["dead"] + 1, smuggled["drift_letters"])


def test_without_jobs_nothing_can_be_said(spark: SparkSession, stack: Settings, tmp_path: Any) -> None:
    with pytest.raises(CannotAuditError, match="make up, or set MSM_DATA_DIR"):
        audit(spark.newSession(), stack.model_copy(update={"data_dir": tmp_path}), from_kafka=False)
