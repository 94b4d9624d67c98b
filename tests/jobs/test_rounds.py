"""What a job runs when: it catches up, evicts, and is live, in that order of need."""

from collections.abc import Callable
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import Mock

import pytest

from conf.settings import Settings
from jobs import rounds, trending_posts
from jobs.offsets import Offsets
from jobs.rounds import Evict, Rounds
from jobs.submit import MANY


class Query:
    """Runs for so many looks at it, and has ended `then`: well, or with an error."""

    name = "trending_posts"

    def __init__(
        self,
        looks: int = 2,
        did_a_batch: bool = False,
        error: Exception | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._looks, self._error, self._then = looks, error, then
        self.lastProgress = Mock(batchId=0) if did_a_batch else None
        self.was_stopped = False

    @property
    def isActive(self) -> bool:  # noqa: N802
        self._looks -= 1
        if self._looks < 0:
            self._then()
        return self._looks >= 0 and not self.was_stopped

    @property
    def status(self) -> dict[str, bool]:
        return {"isTriggerActive": False}

    def awaitTermination(self) -> None:  # noqa: N802
        if self._error:
            raise self._error

    def stop(self) -> None:
        self.was_stopped = True


class Told(Event):
    """One that is looked at again sooner than a job does."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.01 if timeout is None else min(timeout, 0.01))


class Job:
    """A job that is told in advance which rounds it will have, and how many facts wait before each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told, self.had, self.ready = Told(), [], Mock()  # type: ignore[var-annotated]
        self.done: Offsets = {"likes": {0: 1}}
        self.bounds: list[int] = []
        self._settings, self._monkeypatch = Settings(data_dir=folder), monkeypatch

    def run(
        self,
        *script: tuple[int, str, Query | list[Query]],
        real_time: bool = False,
        evicts: bool = False,
        bound: int = 1_000_000,
    ) -> None:
        rest, settings = list(script), self._settings.model_copy(update={"max_facts_a_batch": bound})
        self._monkeypatch.setattr(rounds, "READY", self.ready)
        self._monkeypatch.setattr(rounds, "facts_waiting", lambda *_: rest[0][0])
        self._monkeypatch.setattr(rounds, "committed_offsets", lambda _: self.done)

        def begin(name: str) -> list[Any]:
            waits, _, query = rest.pop(0)
            self.had.append((waits, name))
            return query if isinstance(query, list) else [query]

        def start(_: Any, settings: Settings, catching_up: bool) -> list[Any]:
            self.bounds.append(settings.max_facts_a_batch)
            return begin("catch up" if catching_up else "live")

        evict: Evict | None = (lambda *_: begin("evict")) if evicts else None
        job = Rounds(
            "trending_posts",
            start,
            evict,
            real_time,
            self.told,
            settings,
        )
        try:
            job.run(Mock())
        finally:
            assert self.had == [(waits, name) for waits, name, _ in script[: len(self.had)]]
        assert not rest


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, monkeypatch)


def test_it_is_live_at_once_where_few_facts_wait(job: Job) -> None:
    live = Query(then=job.told.set)
    job.run((MANY - 1, "live", live))
    assert live.was_stopped


def test_it_catches_up_first_where_many_wait_and_again_if_more_have_come(job: Job) -> None:
    job.run((MANY, "catch up", Query()), (MANY, "catch up", Query()), (0, "live", Query(then=job.told.set)))
    job.ready.watch.assert_called_once_with(["trending_posts"], {"trending_posts"})


def test_with_nothing_done_yet_a_small_batch_comes_first(job: Job) -> None:
    job.done = {}
    first = Query(looks=0, did_a_batch=True, then=lambda: job.done.update(likes={0: 10_000}))
    job.run((MANY, "catch up", first), (MANY, "catch up", Query()), (0, "live", Query(then=job.told.set)))
    assert job.bounds == [rounds.FIRST_BATCH, 1_000_000, 1_000_000]


def test_a_bound_that_is_smaller_holds_for_the_first_batch_too(job: Job) -> None:
    job.done = {}
    job.run((MANY, "catch up", Query(then=job.told.set)), bound=40)
    assert job.bounds == [40]


def test_few_facts_need_no_small_batch(job: Job) -> None:
    job.done = {}
    job.run((0, "catch up", Query()), (0, "live", Query(then=job.told.set)), real_time=True)
    assert job.bounds == [1_000_000, 1_000_000]


def test_in_real_time_it_always_catches_up_and_is_not_waited_for_when_it_is_stopped(job: Job) -> None:
    live = Query(then=job.told.set)
    job.run((0, "catch up", Query()), (0, "live", live), real_time=True)
    assert not live.was_stopped


@pytest.mark.parametrize("real_time", [False, True])
@pytest.mark.parametrize("before", [[100.0, 95.0], [80.0, *[3_680.0] * 3]])  # a little; an hour ahead, and right again
def test_it_is_live_anew_where_the_clock_was_set_back(
    job: Job, monkeypatch: pytest.MonkeyPatch, real_time: bool, before: list[float]
) -> None:
    clocks = chain(before, repeat(80.0))
    monkeypatch.setattr(rounds, "_clock", lambda: next(clocks))
    first, second = Query(looks=1_000), Query(then=job.told.set)
    catches_up: list[tuple[int, str, Query | list[Query]]] = [(0, "catch up", Query())] if real_time else []
    job.run(*catches_up, (0, "live", first), (0, "live", second), real_time=real_time)
    assert first.was_stopped


def test_what_ends_by_itself_while_live_is_a_fault(job: Job) -> None:
    with pytest.raises(SystemExit, match="a query of trending_posts ended by itself"):
        job.run((0, "live", Query()))


@pytest.mark.parametrize(("waits", "name"), [(0, "live"), (MANY, "catch up"), (0, "evict")])
def test_the_error_of_a_query_that_fails_is_raised(
    waits: int, name: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "EVICT_FIRST", timedelta(0))
    with pytest.raises(ValueError, match="torn"):
        job.run((waits, name, Query(error=ValueError("torn"))), evicts=name == "evict")


def test_one_waits_for_all_that_catch_up(job: Job) -> None:
    last = Query(looks=6)
    job.run((MANY, "catch up", [Query(looks=0), last]), (0, "live", Query(then=job.told.set)))
    assert last._looks < 0


def test_one_that_ends_is_enough_while_live(job: Job) -> None:
    with pytest.raises(SystemExit, match="ended by itself"):
        job.run((0, "live", [Query(looks=1_000_000), Query()]))


def test_once_in_a_while_it_evicts_and_goes_on(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "EVICT_FIRST", timedelta(seconds=1))
    live, evict = Query(looks=1_000), Query()
    job.run((0, "live", live), (0, "evict", evict), (0, "live", Query(then=job.told.set)), evicts=True)
    assert live.was_stopped


def test_where_nothing_may_be_evicted_it_goes_on(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "EVICT_FIRST", timedelta(0))
    job.run((0, "evict", []), (0, "live", Query(then=job.told.set)), evicts=True)


def test_where_many_wait_a_batch_that_evicts_is_enough(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "EVICT_FIRST", timedelta(seconds=1))
    slow, evict = Query(looks=1_000), Query(looks=1_000, did_a_batch=True)
    script = [(MANY, "catch up", slow), (MANY, "evict", [Query(looks=0), evict]), (MANY, "catch up", Query())]
    job.run(*script, (0, "live", Query(then=job.told.set)), evicts=True)
    assert slow.was_stopped
    assert evict.was_stopped
    # Of the two that caught up only the second had come to its end.
    job.ready.watch.assert_called_once_with(["trending_posts"], {"trending_posts"})


def test_it_is_told_to_stop_by_a_file(job: Job, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    stop = tmp_path / "run" / "trending_posts.stop"
    job.run((MANY, "catch up", Query(then=stop.touch)))


class Busy:
    """Begins a batch as soon as the last one is done; each takes so many looks."""

    isActive = True  # noqa: N815

    def __init__(self, looks: int) -> None:
        self._looks, self._done, self.stopped_after = looks, 0, -1

    @property
    def status(self) -> dict[str, bool]:
        return {"isTriggerActive": True}

    @property
    def lastProgress(self) -> Any:  # noqa: N802
        self._done += 1
        return Mock(batchId=self._done // self._looks)

    def stop(self) -> None:
        self.stopped_after = self._done // self._looks


def test_a_query_that_is_never_idle_is_stopped_when_its_batch_is_done() -> None:
    query = Busy(looks=8)
    rounds._stop_between_batches([query])  # type: ignore[list-item]
    assert query.stopped_after == 1


def test_rankings_are_made_as_often_as_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trending_posts, "_started", started := Mock())
    trending_posts.start(Mock(), Settings(data_dir=tmp_path, rank_every_seconds=7))
    assert started.call_args.args[2] == {"processingTime": "7 seconds"}
