"""The publisher against a real broker that comes, goes and comes back."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from one_broker import OneBroker

from conf.settings import Settings
from contract.facts import PostLiked, new_event_id
from contract.results import Token
from producers.bulk import BulkWriter
from producers.publisher import BrokerUnavailable, Publisher, Record
from runtime.processes import wait_until

pytestmark = pytest.mark.kafka


def like(user: str = "ada", post: str = "p1") -> PostLiked:
    return PostLiked(event_id=new_event_id(), occurred_at="2020-11-20T14:00:00.000Z", user_id=user, post_id=post)


PATIENT = 120.0
"""Seconds: a deadline that no broker misses which is there, or comes back."""


def likes_publisher(bootstrap: str, deadline: float = PATIENT) -> Publisher:
    return Publisher(Settings(kafka_bootstrap=bootstrap), deadline_seconds=deadline, topics=["likes"])


def warm_up(publisher: Publisher) -> PostLiked:
    """A fact that was taken: the first answers of a broker may take longer than a test's short deadline."""
    taken = list[PostLiked]()

    def takes_one() -> bool:
        fact = like("warm-up")
        try:
            asyncio.run(publisher.publish(fact))
        except BrokerUnavailable:
            return False
        taken.append(fact)
        return True

    wait_until(takes_one, PATIENT, lambda: str(publisher.complaint()))
    return taken[0]


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[OneBroker]:
    with OneBroker(tmp_path) as broker:
        yield broker.start()


def test_the_answer_names_where_the_fact_is(broker: OneBroker) -> None:
    publisher = likes_publisher(broker.bootstrap)
    publisher.wait_until_ready(30)
    first, second = asyncio.run(_publish(publisher, like(), like()))
    publisher.close()
    assert (first.topic, first.post_id) == ("likes", "p1")
    assert (second.partition, second.offset) == (first.partition, first.offset + 1)


def test_a_topic_that_is_missing_is_named(broker: OneBroker) -> None:
    publisher = Publisher(Settings(kafka_bootstrap=broker.bootstrap), topics=["nowhere"])
    wait_until(lambda: "no topic nowhere" in str(publisher.complaint()), 120, lambda: str(publisher.complaint()))
    with pytest.raises(BrokerUnavailable, match=r"no topic nowhere: make up .* or \.venv/bin/msm topics"):
        publisher.wait_until_ready(0.1)
    publisher.close()


def test_without_a_broker_every_fact_is_refused_at_once() -> None:
    publisher = likes_publisher("127.0.0.1:1")
    with pytest.raises(BrokerUnavailable):
        asyncio.run(publisher.publish(like()))
    publisher.close()


def test_who_waits_for_a_broker_is_told_that_the_publisher_is_closed() -> None:
    publisher = likes_publisher("127.0.0.1:1")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(publisher.wait_until_ready)
        publisher.close()
        with pytest.raises(BrokerUnavailable, match="the publisher is closed"):
            waiting.result(timeout=30)


def test_what_was_refused_is_not_delivered_when_the_broker_is_back(restartable: OneBroker) -> None:
    publisher = likes_publisher(restartable.bootstrap, deadline=2)
    before, refused = warm_up(publisher), like("refused")
    restartable.kill()
    with pytest.raises(BrokerUnavailable):
        asyncio.run(publisher.publish(refused))
    restartable.start()
    after = warm_up(publisher)
    publisher.close()
    stored = restartable.values("likes")
    assert set(stored.values()) == {1}
    assert [Record.of(fact).value in stored for fact in (before, refused, after)] == [True, False, True]


def test_a_short_outage_only_delays_the_answer(restartable: OneBroker) -> None:
    publisher = likes_publisher(restartable.bootstrap)
    publisher.wait_until_ready(30)
    asyncio.run(publisher.publish(like("first")))
    restartable.kill()

    with ThreadPoolExecutor() as meanwhile:
        answer = meanwhile.submit(asyncio.run, publisher.publish(like("waiting")))
        restartable.start()
        assert answer.result().topic == "likes"
    publisher.close()
    assert sorted(restartable.values("likes").values()) == [1, 1]


def test_a_killed_broker_neither_loses_nor_doubles_what_it_acknowledged(restartable: OneBroker) -> None:
    publisher = likes_publisher(restartable.bootstrap, deadline=3)
    warm_up(publisher)
    facts = [like(f"u{number}") for number in range(400)]

    async def under_load() -> list[object]:
        tasks = [asyncio.create_task(publisher.publish(fact)) for fact in facts[:200]]
        await asyncio.wait({tasks[20]})
        restartable.kill()
        tasks += [asyncio.create_task(publisher.publish(fact)) for fact in facts[200:]]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    outcomes = asyncio.run(under_load())
    restartable.start()
    warm_up(publisher)
    publisher.close()
    stored = restartable.values("likes")
    accepted = {Record.of(f).value for f, o in zip(facts, outcomes, strict=True) if not isinstance(o, Exception)}
    sent_after_the_kill = {Record.of(fact).value for fact in facts[200:]}
    assert set(stored.values()) == {1}
    assert accepted <= stored.keys()
    assert not (sent_after_the_kill - accepted) & stored.keys()


def test_bulk_writing_goes_on_over_a_restart(restartable: OneBroker) -> None:
    publisher = likes_publisher(restartable.bootstrap, deadline=2)
    records = [Record.of(like(f"u{number}")) for number in range(3_000)]
    with ThreadPoolExecutor() as meanwhile, BulkWriter(publisher, in_flight=500) as writer:
        for record in records[:1_500]:
            writer.write(record)
        restartable.kill()
        rest = meanwhile.submit(lambda: [writer.write(record) for record in records[1_500:]])
        restartable.start()
        rest.result()
    publisher.close()
    assert writer.acknowledged == len(records)
    assert restartable.values("likes").keys() == {record.value for record in records}


async def _publish(publisher: Publisher, *facts: PostLiked) -> list[Token]:
    return [await publisher.publish(fact) for fact in facts]
