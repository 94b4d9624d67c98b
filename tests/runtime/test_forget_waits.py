"""An erasure waits for jobs as long as they get further, and tells how far they are."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from conf.settings import Settings
from jobs.offsets import Offsets
from runtime import forget, processes
from runtime.stack import READY_SECONDS

FACTS = 30
A_FACT = 600.0
"""Seconds."""


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.now += 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(processes, "time", clock)
    return clock


def wait_for_jobs(clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> list[str]:
    """What is said while the archive reads a fact after the other, `most` of them."""
    said: list[str] = []

    def read(_: Path) -> Offsets:
        number = min(most, int(clock.now / A_FACT))
        return {"likes": {0: number}} if number else {}

    monkeypatch.setattr(forget, "ends", lambda _, topics: {"likes": {0: FACTS}} if "likes" in topics else {})
    monkeypatch.setattr(forget, "running_jobs", lambda *_: nullcontext(SimpleNamespace()))
    monkeypatch.setattr(forget, "caught_up", lambda *_: True)
    monkeypatch.setattr(forget, "committed_offsets", read)
    forget.let_jobs_read(Settings(data_dir=folder), "ada", said.append, ["archive"])
    return said


def test_it_takes_hours_where_jobs_get_further_all_the_time(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = wait_for_jobs(clock, tmp_path, monkeypatch, FACTS)
    assert clock.now >= FACTS * A_FACT > 4 * 3_600
    assert said[:2] == ["events: 29 records behind", "events: 28 records behind"]


def test_it_gives_up_where_they_stand_still(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TimeoutError, match="the jobs get no further for 900 s: see"):
        wait_for_jobs(clock, tmp_path, monkeypatch, 3)
    assert clock.now < 3 * A_FACT + 2 * READY_SECONDS
