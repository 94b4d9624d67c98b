"""What a query with few batches costs is counted in whole batches."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench import phases
from bench.phases import Phases
from bench.place import Place
from bench.usage import Usage
from conf.settings import Settings
from runtime.processes import wait_until


class Job:
    """A job that has done so many batches in so many processor seconds."""

    popen = SimpleNamespace(pid=0)

    def __init__(self) -> None:
        self.batches, self.cpu = 7.0, 100.0

    def seen(self, monkeypatch: pytest.MonkeyPatch) -> Phases:
        monkeypatch.setattr(phases, "LOOK_SECONDS", 0.01)
        monkeypatch.setattr(phases, "job_metrics", lambda *_: {'msm_job_batches_total{query="rare"}': self.batches})
        monkeypatch.setattr(phases, "usage_of", lambda _: Usage(self.cpu, 0, 0))
        job: Any = self
        return Phases(Place(Settings()), "rankings", job, seldom="rare")

    def does(self, batches: int, cpu: float, seen: Phases) -> None:
        self.cpu += cpu
        self.batches += batches
        wait_until(lambda: bool(seen.ends) and seen.ends[-1].batches == self.batches, 30, lambda: "not seen")


def test_what_is_before_the_first_end_and_after_the_last_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job()
    with job.seen(monkeypatch) as seen:
        job.does(1, 50, seen)
        job.does(1, 4, seen)
        job.does(2, 8, seen)
        job.cpu += 1_000
    done, seconds, used = seen.whole() or (0, 0, 0)
    assert (done, used) == (3, 12)
    assert 0 < seconds < seen.seconds
    assert seen.of_batch("x", "rare")[0].value == done / seconds


def test_one_end_is_no_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job()
    with job.seen(monkeypatch) as seen:
        assert seen.whole() is None
        job.does(1, 5, seen)
    assert seen.whole() is None
