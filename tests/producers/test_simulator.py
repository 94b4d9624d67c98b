"""The simulated network: the same seed tells the same story, and all of life is in it."""

import json
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any
from unittest.mock import Mock

import pytest
from one_broker import OneBroker
from pydantic import ValidationError
from rich.console import Console

from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, FACT_TOPICS, parse_time
from producers.bulk import BulkWriter
from producers.publisher import Delivery, InDoubt, Publisher, Record, Stored
from producers.simulator import __main__ as simulator
from producers.simulator.__main__ import run
from producers.simulator.arrivals import arrivals, spread
from producers.simulator.broken import BREAKS
from producers.simulator.history import Mix, history
from producers.simulator.run import write

START = datetime(2026, 11, 20, 14, tzinfo=timezone.utc)
MOMENTS = list(spread(START, START + timedelta(hours=1), 20_000))


@pytest.fixture(scope="module")
def story() -> list[Record]:
    return list(history(7, MOMENTS))


@pytest.fixture(scope="module")
def facts(story: list[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in story if is_fact(record)]


def is_fact(record: Record) -> bool:
    try:
        value = json.loads(record.value)
        model = FACT_BY_TYPE[value["event_type"]]
        return model.model_validate(value).occurred_at < "2027" and model.topic == record.topic
    except (ValueError, KeyError, TypeError, ValidationError):
        return False


def test_the_same_seed_writes_the_same_bytes(story: list[Record]) -> None:
    assert list(history(7, MOMENTS)) == story


def test_another_seed_tells_another_story(story: list[Record]) -> None:
    assert list(history(8, MOMENTS[:100])) != story[:100]


def test_the_page_has_content_at_once(story: list[Record]) -> None:
    opening = [json.loads(record.value) for record in story[:30]]
    assert {fact["event_type"] for fact in opening} == {"post_created"}
    assert min(parse_time(fact["occurred_at"]) for fact in opening) > START - timedelta(hours=1)


def test_everything_that_users_do_is_in_it(facts: list[dict[str, Any]]) -> None:
    kinds = Counter(fact["event_type"] for fact in facts)
    assert kinds.keys() == FACT_BY_TYPE.keys()
    assert kinds["post_liked"] > kinds["comment_added"] > kinds["post_unliked"] > kinds["post_created"]


def test_some_facts_come_again(facts: list[dict[str, Any]]) -> None:
    again = Counter(fact["event_id"] for fact in facts)
    assert 0.005 < sum(count - 1 for count in again.values()) / len(facts) < 0.02


def test_some_facts_are_late_up_to_a_month(facts: list[dict[str, Any]]) -> None:
    dates = [parse_time(fact["occurred_at"]) for fact in facts]
    assert sum(START - timedelta(hours=1) > date for date in dates) > 10
    assert min(dates) > START - timedelta(days=31)


def test_a_few_posts_get_most_of_the_likes(facts: list[dict[str, Any]]) -> None:
    likes = Counter(fact["post_id"] for fact in facts if fact["event_type"] == "post_liked")
    best = sum(count for _, count in likes.most_common(len(likes) // 10))
    assert best > 0.4 * likes.total()


def test_one_post_goes_viral(facts: list[dict[str, Any]]) -> None:
    likes = Counter(fact["post_id"] for fact in facts[3_000:6_000] if fact["event_type"] == "post_liked")
    assert likes.most_common(1)[0][1] > 0.08 * likes.total()


def test_strangers_try_to_delete(facts: list[dict[str, Any]]) -> None:
    author = {fact["post_id"]: fact["user_id"] for fact in facts if fact["event_type"] == "post_created"}
    deletions = [fact for fact in facts if fact["event_type"] == "post_deleted"]
    by_author = [author.get(fact["post_id"]) == fact["user_id"] for fact in deletions]
    assert any(by_author)
    assert not all(by_author)


def test_some_likes_come_before_their_post(facts: list[dict[str, Any]]) -> None:
    posted: set[str] = set()
    early = set()
    for fact in facts:
        if fact["event_type"] == "post_created":
            posted.add(fact["post_id"])
        elif fact["event_type"] == "post_liked" and fact["post_id"] not in posted:
            early.add(fact["post_id"])
    assert early & posted


def test_records_are_keyed_as_the_contract_says(story: list[Record]) -> None:
    for record in filter(is_fact, story):
        value = json.loads(record.value)
        assert record.key == value["user_id" if record.topic == "posts" else "post_id"].encode()


def test_few_records_are_broken(story: list[Record]) -> None:
    assert 0.001 < sum(not is_fact(record) for record in story) / len(story) < 0.01


@pytest.mark.parametrize("reason", BREAKS)
def test_each_way_to_break_a_record_makes_it_no_fact(reason: str) -> None:
    only_broken = Mix(0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    like = list(history(1, MOMENTS[:31], mix=only_broken))[-1]

    fact = FACT_BY_TYPE["post_liked"].model_validate_json(like.value)
    assert is_fact(like)
    assert all(not is_fact(BREAKS[reason](random.Random(seed), fact)) for seed in range(20))


def test_arrivals_keep_their_rate_and_burst() -> None:
    moments = list(islice(arrivals(3, START, rate=20), 60_000))
    seconds = (moments[-1] - moments[0]).total_seconds()
    assert len(moments) / seconds == pytest.approx(20, rel=0.1)
    a_second = Counter(int((moment - START).total_seconds()) for moment in moments)
    assert max(a_second.values()) > 50


def test_moments_of_a_backfill_are_spread_evenly() -> None:
    assert list(spread(START, START + timedelta(seconds=4), 4)) == [
        START + timedelta(seconds=second) for second in range(4)
    ]


def test_while_no_broker_answers_one_is_told_what_is_waited_for(
    away: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulator, "SAY_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(simulator, "write", lambda *_: 0)  # it would wait for ever
    run(away, facts=1)
    assert "broker at 127.0.0.1:1" in capsys.readouterr().err


class Dying(Publisher):
    """Its broker acknowledges one record, not the next, and is away from then on."""

    def __init__(self, *_: object, **__: object) -> None:
        self.sent = 0

    def wait_until_ready(self, timeout: float | None = None) -> None:
        if self.sent >= 3:
            raise KeyboardInterrupt  # as who waits for the broker would be stopped

    def send(self, record: Record) -> Delivery:
        self.sent += 1
        return Delivery(Mock(is_done=True), Mock(number=self.sent))

    def acknowledged(self, delivery: Delivery) -> Stored:
        if delivery.producer.number > 1:
            raise InDoubt("no acknowledgement")
        return Mock(spec=Stored)

    def close(self) -> None: ...


def test_a_simulator_that_is_stopped_while_the_broker_is_away_ends_and_says_what_is_in_doubt(
    away: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "Publisher", Dying)
    told = list[Record]()
    with pytest.raises(SystemExit, match="of 2 facts 1 were not acknowledged, and may be stored or not"):
        run(away, rate=0, facts=9, tell=lambda record, _: told.append(record))
    assert len(told) == 1


def test_a_record_that_was_waited_for_when_the_writer_was_interrupted_is_still_its_own() -> None:
    publisher = Mock(spec=Publisher)
    publisher.acknowledged.side_effect = [KeyboardInterrupt, Mock(spec=Stored)]
    writer = BulkWriter(publisher)
    with pytest.raises(KeyboardInterrupt):
        writer.write(Record("likes", b"key", b"value"))
    writer.finish()
    assert (writer.written, writer.acknowledged) == (1, 1)
    assert publisher.send.call_count == 1


@pytest.mark.kafka
def test_the_simulator_writes_exactly_its_history(broker: OneBroker) -> None:
    before = {topic: broker.values(topic) for topic in FACT_TOPICS}
    # Patient: written again, a record would be there twice.
    publisher = Publisher(Settings(kafka_bootstrap=broker.bootstrap), deadline_seconds=120)
    records = list(history(11, MOMENTS[:2_000]))
    acknowledged = write(records, BulkWriter(publisher), len(records), Console(quiet=True))
    publisher.close()
    assert acknowledged == len(records)
    for topic in FACT_TOPICS:
        expected = Counter(record.value for record in records if record.topic == topic)
        assert broker.values(topic) - before[topic] == expected


@pytest.mark.kafka
def test_the_simulator_keeps_a_rate_and_paints_its_pictures(live: Settings) -> None:
    began = datetime.now(timezone.utc)
    assert run(live, rate=50, facts=130) == 130
    # The first thirty at once, a hundred at fifty a second.
    assert 1.2 < (datetime.now(timezone.utc) - began).total_seconds() < 60
    assert len(list(live.media_dir.glob("*.jpg"))) == 12
