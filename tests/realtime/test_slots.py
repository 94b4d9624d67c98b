"""Real time has a slot for every task of a query, however many partitions there are."""

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from conf.settings import Settings
from jobs import realtime
from jobs.harness import fix


def slots(monkeypatch: pytest.MonkeyPatch, partitions: int, shuffle_partitions: int) -> int:
    monkeypatch.setattr(realtime, "partitions", lambda *_: partitions)
    return realtime.slots(Settings(shuffle_partitions=shuffle_partitions))


def test_small_states_have_the_usual_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots(monkeypatch, partitions=12, shuffle_partitions=4) == 64


@pytest.mark.parametrize(("partitions", "shuffle_partitions"), [(12, 64), (288, 4), (288, 64)])
def test_there_is_one_for_each_partition_of_topics_and_of_three_shuffles(
    monkeypatch: pytest.MonkeyPatch, partitions: int, shuffle_partitions: int
) -> None:
    assert slots(monkeypatch, partitions, shuffle_partitions) >= partitions + 3 * shuffle_partitions


def test_topics_that_nobody_can_tell_of_are_those_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_away(*_: Any) -> int:
        raise KafkaTimeoutError

    monkeypatch.setattr(realtime, "partitions", is_away)
    assert realtime.slots(Settings(shuffle_partitions=4)) >= 32 + 128 + 128 + 3 * 4


def test_a_session_in_real_time_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "is_able", lambda: True)
    monkeypatch.setattr(realtime, "slots", lambda _: 204)
    builder = Recorded()
    realtime.prepared(builder, Settings(counts_trigger="real-time"))  # type: ignore[arg-type]
    assert builder.masters == ["local[204]"]
    realtime.prepared(builder, Settings(counts_trigger="micro-batch"))  # type: ignore[arg-type]
    assert builder.masters == ["local[204]"], "in batches nobody needs them"


class Recorded:
    """What a session's builder is told of its master."""

    def __init__(self) -> None:
        self.masters: list[str] = []

    def master(self, master: str) -> "Recorded":
        self.masters.append(master)
        return self

    def config(self, *_: Any) -> "Recorded":
        return self


def test_whoever_has_too_few_is_told_what_to_do() -> None:
    assert "MSM_COUNTS_TRIGGER=micro-batch" in fix("[CONCURRENT_SCHEDULER_INSUFFICIENT_SLOT] the minimum is 204")
