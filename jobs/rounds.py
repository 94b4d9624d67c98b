"""Which queries of a job run when: those that catch up, those that evict, those that go on live."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import structlog
from kafka.errors import KafkaError
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from conf.store import checkpoints
from contract.facts import FACT_TOPICS
from jobs.checkpoints import STATES, committed_offsets
from jobs.offsets import beginnings, ends, rows
from jobs.progress import READY
from jobs.running import stop_file
from jobs.submit import INTERPRETED, MANY

log = structlog.get_logger()
Start = Callable[[SparkSession, Settings, bool], Sequence[StreamingQuery]]
"""Starts the queries of a job; with True they end once they have done all that was there when they began."""
Evict = Callable[[SparkSession, Settings], Sequence[StreamingQuery]]
"""Starts queries that end as those that catch up, and in each batch look at all of state for what is too old."""
EVICT_FIRST, EVICT_EVERY = timedelta(minutes=10), timedelta(hours=1)
"""How long a job goes on without looking at all of state for what is too old: docs/decisions/eviction.md."""
SET_BACK = timedelta(seconds=10)
"""Spark waits for its next batch, or the end of one in real time, until the clock says so, however long that takes."""
CATCH_UP: Any = {"availableNow": True}
FIRST_BATCH = 10_000
"""Facts of the first batch of a new checkpoint: there is something to show sooner; large ones are cheaper a fact."""
UNCOUNTED = {"spark.sql.streaming.stateStore.rocksdb.trackTotalNumberOfRows": "false"}
"""Counting the rows of state costs one more look at RocksDB a change; who goes live counts them once."""


class Rounds:
    """A job catches up first where many facts wait, and always where it goes on in real time; then it is live.

    With many and a new checkpoint it begins with a round of small batches, which ends as soon as it has done one.

    With `evict` its other batches keep all of state: once in a while it has a round that evicts. Batches are not
    interrupted, real time is. Where the clock is set back, it is live anew.
    """

    def __init__(
        self, name: str, start: Start, evict: Evict | None, real_time: bool, told: threading.Event, settings: Settings
    ) -> None:
        self._name, self._start, self._evict, self._real_time = name, start, evict, real_time
        self._told, self._stop_file, self._settings = told, stop_file(settings.run_dir, name), settings
        self._caught_up: set[str] = set()
        self._evict_at = time.monotonic() + EVICT_FIRST.total_seconds() if evict else math.inf

    def run(self, spark: SparkSession) -> None:
        """One round after the other, until the job is told to stop; the error of a query that fails is raised."""
        while not self._is_told():
            query = next(iter(STATES[self._name]))
            waits = facts_waiting(self._settings, query)
            if self._evict and time.monotonic() >= self._evict_at:
                self._let_go(self._evict(spark, self._settings), waits)
            elif waits >= MANY or (self._real_time and not self._caught_up):
                log.info("catching up", job=self._name, facts=waits)
                begins = waits >= MANY and not committed_offsets(checkpoints(self._settings) / query)
                settings = self._settings.with_batches_of(FIRST_BATCH) if begins else self._settings
                with compiling(spark) if waits >= MANY else nullcontext():
                    queries = self._start(spark, settings, True)
                (self._show_some if begins else self._do_what_waits)(queries)
            else:
                with projecting(spark) if self._real_time else nullcontext():
                    queries = self._start(spark, self._settings, False)
                self._go_live(queries)

    def _let_go(self, queries: Sequence[StreamingQuery], waits: int) -> None:
        """Where many facts wait, a batch of each is enough."""
        is_done = _did_a_batch if waits >= MANY else _has_ended
        self._wait(lambda: all([is_done(query) for query in queries]))
        self._evict_at = time.monotonic() + EVICT_EVERY.total_seconds()
        _stop_between_batches(queries)

    def _show_some(self, queries: Sequence[StreamingQuery]) -> None:
        self._wait(lambda: all([_did_a_batch(query) for query in queries]))
        _stop_between_batches(queries)

    def _do_what_waits(self, queries: Sequence[StreamingQuery]) -> None:
        self._wait(lambda: all([_has_ended(query) for query in queries]), until=self._evict_at)
        self._caught_up |= {query.name for query in queries if _has_ended(query)}
        _stop_between_batches(queries)

    def _go_live(self, queries: Sequence[StreamingQuery]) -> None:
        READY.watch([query.name for query in queries], self._caught_up)
        latest = _clock()

        def was_set_back() -> bool:
            """Since it was at its latest: it may have been ahead, or the machine asleep, before."""
            nonlocal latest
            latest = max(latest, _clock())
            return latest - _clock() > SET_BACK.total_seconds()

        self._wait(lambda: any([_has_ended(query) for query in queries]) or was_set_back(), until=self._evict_at)
        if not self._is_told() and any([_has_ended(query) for query in queries]):
            raise SystemExit(f"a query of {self._name} ended by itself")
        if was_set_back():
            log.warning(
                "the clock was set back: queries that wait for a time of before are started anew", job=self._name
            )
        if was_set_back() or not self._real_time:
            _stop_between_batches(queries)

    def _is_told(self) -> bool:
        return self._told.is_set() or self._stop_file.exists()

    def _wait(self, is_over: Callable[[], bool], until: float = math.inf) -> None:
        while not (is_over() or self._is_told() or time.monotonic() >= until):
            self._told.wait(0.2)


def _clock() -> float:
    """The clock less the time that has passed: the same for as long as nobody sets the clock."""
    return time.time() - time.monotonic()


@contextmanager
def compiling(spark: SparkSession) -> Iterator[None]:
    """Over many facts generated code is the cheaper one; a query keeps the options that it was started with."""
    change(spark, UNCOUNTED, INTERPRETED)
    try:
        yield
    finally:
        change(spark, INTERPRETED, UNCOUNTED)


@contextmanager
def projecting(spark: SparkSession) -> Iterator[None]:
    """In real time a plan runs for minutes, row by row: its projections are generated, its loops are not."""
    change(spark, {}, ["spark.sql.codegen.factoryMode"])
    try:
        yield
    finally:
        change(spark, INTERPRETED)


def change(spark: SparkSession, options: Mapping[str, str], back: Iterable[str] = ()) -> None:
    """Set options, and go back to the usual for others."""
    for option in back:
        spark.conf.unset(option)
    for option, value in options.items():
        spark.conf.set(option, value)


def facts_waiting(settings: Settings, query: str) -> int:
    """How many records of the fact topics the query has not done; 0 where Kafka refuses, since Spark will say why."""
    done = committed_offsets(checkpoints(settings) / query)
    try:
        first, following = beginnings(settings, FACT_TOPICS), ends(settings, FACT_TOPICS)
    except KafkaError:
        return 0
    return sum(
        max(0, end - max(first[topic][part], done.get(topic, {}).get(part, 0))) for topic, part, end in rows(following)
    )


def _has_ended(query: StreamingQuery) -> bool:
    """The error of one that failed is raised."""
    if query.isActive:
        return False
    query.awaitTermination()
    return True


def _did_a_batch(query: StreamingQuery) -> bool:
    return query.lastProgress is not None or _has_ended(query)


def _stop_between_batches(queries: Sequence[StreamingQuery]) -> None:
    """When idle, or else when the next batch has only just begun; in ten seconds at the latest."""
    pause = threading.Event()
    for query in queries:
        batch, waited = _last_batch(query), 0
        while query.isActive and query.status["isTriggerActive"] and _last_batch(query) == batch and waited < 100:
            waited += 1
            pause.wait(0.1)
        query.stop()


def _last_batch(query: StreamingQuery) -> int:
    return query.lastProgress.batchId if query.lastProgress else -1
