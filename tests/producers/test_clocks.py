"""The clock that facts are dated with: set back, and ahead of the broker's."""

import math
import re
import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from one_broker import OneBroker

from producers import commands, publisher
from producers.commands import NOT_COUNTED, SET_BACK_SECONDS, Dating, Publishers

By = Callable[[str], dict[str, str]]


def dated(*moments: float) -> list[str]:
    """The seconds that are told while the clock shows these."""
    shown = iter(moments)
    now = Dating(lambda: next(shown))
    return [now()[17:-1] for _ in moments]


def test_a_clock_that_is_set_back_a_little_stands_still_until_it_is_there_again() -> None:
    assert dated(10, 10.5, 7, 9, 10.499, 11) == ["10.000", "10.500", "10.500", "10.500", "10.500", "11.000"]


def test_a_clock_that_is_set_back_by_more_is_followed() -> None:
    assert dated(30, 30 - SET_BACK_SECONDS - 1, 25) == ["30.000", "24.000", "25.000"]


def run_ahead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(commands, "now", Dating(lambda: time.time() + seconds))


@pytest.mark.kafka
def test_what_would_not_count_is_not_acknowledged_and_then_not_sent_until_the_clocks_agree(
    client: TestClient, broker: OneBroker, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    def like() -> tuple[int, str | None]:
        answer = client.put("/posts/ahead/like", headers=by("ada"))
        return answer.status_code, answer.json().get("detail")

    monkeypatch.setattr(publisher, "COMPARE_SECONDS", 300)
    run_ahead(monkeypatch, 360)
    assert [like() for _ in range(3)] == [(503, NOT_COUNTED)] * 3
    assert sum(b'"ahead"' in value for value in broker.values("likes")) == 1
    told = client.get("/healthz").json()["services"]
    assert re.search("3[56]. s ahead of the Kafka broker's", told.pop("likes"))
    assert set(told.values()) == {"ok"}

    run_ahead(monkeypatch, 0)
    assert like() == (503, NOT_COUNTED)
    publishers: Publishers = client.app.state.publisher  # type: ignore[attr-defined]
    publishers.of("likes")._compared_at = -math.inf  # some time later
    assert [like()[0] for _ in range(2)] == [202, 202]
    assert client.get("/healthz").status_code == 200


@pytest.mark.kafka
def test_a_clock_that_is_behind_is_told_and_stops_nothing(
    client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ahead(monkeypatch, -60)
    assert client.put("/posts/p1/like", headers=by("ada")).status_code == 202
    assert re.search("(5.|60) s behind the Kafka broker's", client.get("/healthz").json()["services"]["likes"])
    run_ahead(monkeypatch, 0)
    assert client.put("/posts/p1/like", headers=by("ada")).status_code == 202
    assert client.get("/healthz").status_code == 200


@pytest.mark.kafka
def test_a_clock_that_is_a_little_ahead_is_told_and_stops_nothing(
    client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ahead(monkeypatch, 60)
    assert [client.put("/posts/p1/like", headers=by("ada")).status_code for _ in range(2)] == [202, 202]
    assert re.search("(5.|60) s ahead", client.get("/healthz").json()["services"]["likes"])
    monkeypatch.setattr(publisher, "TOLD_SECONDS", 0)  # some time later
    assert client.get("/healthz").status_code == 200
    lines = client.get("/metrics").text.splitlines()
    (ahead,) = (float(line.split()[1]) for line in lines if line.startswith("msm_clock_ahead_seconds "))
    assert 55 < ahead < 60.1
