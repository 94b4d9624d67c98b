"""What a view says of how far it is: `as_of` holds for every partition."""

from pathlib import Path
from sqlite3 import OperationalError
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS, RISING_POSTS, TRENDING_POSTS
from feeds import consumer
from feeds.consumer import FeedConsumer
from feeds.metrics import AGE
from feeds.store import PostStore
from feeds.view import TOMBSTONES_KEPT_SECONDS, MustRebuildError

NOWHERE = Settings(kafka_bootstrap="nowhere:1")
ENDS = {0: 10, 1: 10}


class Kafka:
    """Two partitions of ten records each; record n of each arrived at second n."""

    def __init__(self) -> None:
        self.read = dict.fromkeys(ENDS, 0)

    def take(self, feed: FeedConsumer, partition: int, until: int) -> None:
        """Let the feed have the records of a partition from where it is."""
        place = TopicPartition(POSTS_WITH_COUNTS, partition)
        records = [
            SimpleNamespace(topic=place.topic, partition=partition, offset=number, key=b"p", value=b"", headers=[])
            for number in range(self.read[partition], until)
        ]
        for record in records:
            record.timestamp = record.offset * 1_000
        self.read[partition] = until
        feed._take({place: records})

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(POSTS_WITH_COUNTS, partition) for partition in ENDS}

    def end_offsets(self, places: list[TopicPartition], **_: Any) -> dict[TopicPartition, int]:
        return {place: ENDS[place.partition] for place in places}

    def beginning_offsets(self, places: list[TopicPartition], **_: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    def assign(self, places: list[TopicPartition]) -> None:
        pass

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.read[place.partition] = offset

    def position(self, place: TopicPartition) -> int:
        return self.read[place.partition]

    def describe_topics(self, _: Any) -> list[dict[str, Any]]:
        partitions = [{"partition_index": partition} for partition in ENDS]
        return [{"name": POSTS_WITH_COUNTS, "error_code": 0, "topic_id": "id", "partitions": partitions}]


def told() -> tuple[float | None, float | None]:
    """Whether the view was whole, and as of when it is, for Prometheus."""
    caught_up, as_of = ("msm_feed_caught_up", "msm_feed_as_of_timestamp_seconds")
    labels = {"topic": POSTS_WITH_COUNTS}
    return REGISTRY.get_sample_value(caught_up, labels), REGISTRY.get_sample_value(as_of, labels)


def test_a_view_that_cannot_be_rebuilt_is_tried_again() -> None:
    reasons: list[str] = []

    def rebuild(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) < 3:
            raise OperationalError("database or disk is full")
        feed._stop.set()

    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(rebuild=rebuild), Mock())
    feed._must_rebuild = "its file is gone"
    feed._stop = Mock(wraps=feed._stop, wait=lambda _: None)
    feed._run()
    assert reasons == ["its file is gone"] * 3
    assert not feed.caught_up


def test_it_is_as_of_what_the_partition_has_that_is_furthest_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    view = Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"})
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], view, Mock())
    monkeypatch.setattr(consumer.time, "time", lambda: 100.0)

    def as_of() -> float:
        feed._look(kafka, kafka)
        return feed.as_of

    kafka.take(feed, 0, 9)
    assert as_of() == 0
    kafka.take(feed, 1, 4)
    assert as_of() == 3
    kafka.take(feed, 0, 10)
    assert as_of() == 3
    kafka.take(feed, 1, 7)
    assert as_of() == 6
    kafka.take(feed, 1, 10)
    assert as_of() == 100
    # It never goes back: what comes later is not missing from before.
    monkeypatch.setitem(ENDS, 1, 20)
    assert as_of() == 100


def test_under_a_steady_stream_it_is_in_step_with_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    view = Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"})
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], view, Mock())
    monkeypatch.setattr(consumer.time, "time", lambda: 100.0)
    feed._look(kafka, kafka)
    monkeypatch.setattr(consumer.time, "time", lambda: 101.0)
    for partition in ENDS:  # ten more came while it read the first ten
        kafka.take(feed, partition, 9)
        monkeypatch.setitem(ENDS, partition, 20)
    feed._look(kafka, kafka)
    assert (feed.caught_up, feed.as_of) == (False, 8)
    assert told() == (0, 8)
    assert feed.readiness() == feed.health() == "the view of posts_with_counts is being built: 22 records to go"
    for partition in ENDS:
        kafka.take(feed, partition, 11)
    feed._look(kafka, kafka)
    assert (feed.caught_up, feed.as_of, feed.health()) == (True, 100, None)
    assert told() == (1, 100)
    view.touch.assert_called_once_with()


def test_a_client_that_gets_nothing_of_what_is_there_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    view = Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}, offsets=dict)
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], view, Mock())

    def look(moment: float) -> None:
        monkeypatch.setattr(consumer.time, "monotonic", lambda: moment)
        feed._look(kafka, kafka)

    for second in range(100, 190):
        kafka.take(feed, 0, 1 + second % 9)  # one partition that moves does not hide another
        if second == 120:
            kafka.take(feed, 1, 5)
        if second == 151:
            break
        look(second)
    with pytest.raises(RuntimeError, match=f"Kafka sends nothing of {POSTS_WITH_COUNTS}, partition 1, from 5"):
        look(151)
    feed._assign(kafka, list(kafka.assignment()))  # a new client
    look(152)
    for partition in ENDS:
        kafka.take(feed, partition, 10)
    look(200)
    look(1_000)  # nothing is to be read, and nothing comes


def test_a_broker_that_was_away_is_no_client_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}), Mock())
    for moment, away in ((100, False), (101, True), (200, False)):
        monkeypatch.setattr(consumer.time, "monotonic", lambda moment=moment: moment)
        with monkeypatch.context() as broker:
            if away:
                broker.setattr(kafka, "end_offsets", Mock(side_effect=KafkaConnectionError))
            feed._look(kafka, kafka)
        assert bool(feed._trouble) == away


def test_a_view_whose_broker_was_away_for_longer_than_tombstones_are_kept_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, kafka = 1_000_000.0, Kafka()
    view = PostStore(tmp_path / "posts.sqlite", lambda: now)
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], view, Mock())
    broker: Any = kafka
    for partition in ENDS:
        kafka.take(feed, partition, 10)
    feed._look(broker, broker)
    now += TOMBSTONES_KEPT_SECONDS + 1
    with monkeypatch.context() as away:
        away.setattr(kafka, "end_offsets", Mock(side_effect=KafkaConnectionError))
        feed._look(broker, broker)  # what the view has is better than nothing
    with pytest.raises(MustRebuildError, match="longer than tombstones are kept"):
        feed._look(broker, broker)
    view.close()


def test_a_whole_view_is_ready_while_its_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}), Mock())
    assert feed.readiness() == feed.health()
    for partition in ENDS:
        kafka.take(feed, partition, 10)
    feed._look(kafka, kafka)
    in_step = feed.as_of
    monkeypatch.setattr(kafka, "end_offsets", Mock(side_effect=KafkaConnectionError))
    feed._look(kafka, kafka)
    assert "does not answer" in str(feed.health())
    assert feed.readiness() is None
    assert told() == (1, in_step), "by which an alert sees that it grows old"


def test_a_goal_of_long_ago_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}), Mock())

    def look(moment: float, read: int, ends: int) -> bool:
        monkeypatch.setattr(consumer.time, "time", lambda: moment)
        for partition in ENDS:
            kafka.take(feed, partition, read)
            monkeypatch.setitem(ENDS, partition, ends)
        feed._look(kafka, kafka)
        return feed.caught_up

    assert not look(100, 1, 10)
    assert not look(100 + consumer.IN_STEP_SECONDS, 10, 20), "where it should have been a minute ago"
    assert look(101 + consumer.IN_STEP_SECONDS, 20, 30)


def test_a_broker_whose_clock_was_ahead_makes_no_view_of_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka: Any = Kafka()
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}), Mock())
    monkeypatch.setattr(consumer.time, "time", lambda: 3.0)  # its records are of up to nine
    for partition in ENDS:
        kafka.take(feed, partition, 9)
    feed._look(kafka, kafka)
    assert feed.as_of == 3
    for partition in ENDS:
        kafka.take(feed, partition, 10)
    feed._look(kafka, kafka)
    assert (feed.as_of, feed.caught_up) == (3, True)


def test_each_topic_tells_its_own_age(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FeedConsumer(NOWHERE, [RISING_POSTS, TRENDING_POSTS], Mock(topic_ids=dict), Mock())
    ids = {RISING_POSTS: "1", TRENDING_POSTS: "2"}
    places = [TopicPartition(topic, 0) for topic in ids]
    feed._newest_ms = dict(zip(places, (10_000, 90_000), strict=True))
    described = [
        {"name": topic, "error_code": 0, "topic_id": topic_id, "partitions": [{"partition_index": 0}]}
        for topic, topic_id in ids.items()
    ]
    kafka: Any = Mock(assignment=lambda: set(places), end_offsets=lambda *_, **__: dict.fromkeys(places, 1))
    kafka.position, kafka.describe_topics = lambda _: 1, lambda _: described
    monkeypatch.setattr(consumer.time, "time", lambda: 100.0)
    feed._look(kafka, kafka)
    ages = {sample.labels["topic"]: sample.value for metric in AGE.collect() for sample in metric.samples}
    assert {topic: ages[topic] for topic in ids} == {RISING_POSTS: 90, TRENDING_POSTS: 10}


def test_a_view_that_is_built_anew_is_as_of_nothing_until_it_has_read() -> None:
    kafka: Any = Kafka()
    feed = FeedConsumer(NOWHERE, [POSTS_WITH_COUNTS], Mock(topic_ids=lambda: {POSTS_WITH_COUNTS: "id"}), Mock())
    for partition in ENDS:
        kafka.take(feed, partition, 10)
    feed._look(kafka, kafka)
    assert feed.as_of > 0
    assert feed.readiness() is None
    feed._must_rebuild = "the test says so"
    feed._rebuild()
    assert told() == (0, 0)
    assert feed.readiness()
    kafka.read = dict.fromkeys(ENDS, 0)
    feed._look(kafka, kafka)
    assert feed.as_of == 0
    kafka.take(feed, 0, 5)
    feed._look(kafka, kafka)
    assert feed.as_of == 0
