"""What a running query says of itself, for Prometheus."""

import gc
import json
from collections.abc import Sequence, Set
from typing import Any

from prometheus_client import Counter, Gauge
from pyspark import SparkContext
from pyspark.sql.streaming.listener import (
    JStreamingQueryListener,
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from contract.facts import parse_time
from jobs.transforms.panes import BEHIND_WATERMARK

_QUERY = ["query"]
ROWS = Counter("msm_job_rows", "Records read", _QUERY)
BATCHES = Counter("msm_job_batches", "Batches done", _QUERY)
INPUT_RATE = Gauge("msm_job_input_rows_per_second", "Records that arrive a second", _QUERY)
PROCESSED_RATE = Gauge("msm_job_processed_rows_per_second", "Records that are done a second", _QUERY)
PHASE = Gauge("msm_job_batch_phase_seconds", "Time of one phase of the last batch", [*_QUERY, "phase"])
STATE_ROWS = Gauge("msm_job_state_rows", "Rows in state", [*_QUERY, "operator"])
STATE_BYTES = Gauge("msm_job_state_memory_bytes", "Memory of the state", [*_QUERY, "operator"])
STATE_EVICTION = Gauge(
    "msm_job_state_eviction_seconds", "Time that the last batch looked for old state, all tasks", [*_QUERY, "operator"]
)
DROPPED = Counter("msm_job_rows_behind_watermark", "Rows that a watermark left out", _QUERY)
LAG = Gauge("msm_job_lag_records", "Records that wait in the partition that is furthest behind", _QUERY)
WATERMARK = Gauge("msm_job_watermark_timestamp_seconds", "Event-time watermark", _QUERY)
DEAD_LETTERS = Counter("msm_job_dead_letters", "Records that are no facts", [*_QUERY, "reason"])


class Ready:
    """A job is ready when each of its queries has caught up once."""

    def __init__(self) -> None:
        self._waiting: set[str] | None = None
        self._caught_up: set[str] = set()
        self._gauge = Gauge("msm_job_ready", "1 when every query of the job has caught up once")

    def watch(self, names: Sequence[str], caught_up: Set[str] = frozenset()) -> None:
        self._waiting = set(names)
        self._caught_up |= caught_up
        self._update()

    def caught_up(self, name: str) -> None:
        self._caught_up.add(name)
        self._update()

    def _update(self) -> None:
        if self._waiting is not None:
            self._gauge.set(self._waiting <= self._caught_up)


READY = Ready()


class _AsText(JStreamingQueryListener):
    """Fetches progress in one call; PySpark would make one for each of some hundred numbers of state, at each batch."""

    def onQueryProgress(self, jevent: Any) -> None:  # noqa: N802
        progress = StreamingQueryProgress.fromJson(json.loads(jevent.progress().json()))
        self.pylistener.onQueryProgress(QueryProgressEvent(progress))


class ProgressListener(StreamingQueryListener):
    """Turns progress events into metrics; a batch that left nothing behind means that the query has caught up."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    @property
    def _jlistener(self) -> Any:
        jvm: Any = SparkContext._jvm
        return jvm.PythonStreamingQueryListenerWrapper(_AsText(self))

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802
        self._names[str(event.id)] = event.name or str(event.id)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        READY.caught_up(self._names.get(str(event.id), ""))

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The job's main loop sees to it."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        progress = event.progress
        name = progress.name or str(progress.id)
        ROWS.labels(name).inc(progress.numInputRows)
        BATCHES.labels(name).inc()
        INPUT_RATE.labels(name).set(_number(progress.inputRowsPerSecond))
        PROCESSED_RATE.labels(name).set(_number(progress.processedRowsPerSecond))
        for phase, milliseconds in progress.durationMs.items():
            PHASE.labels(name, phase).set(milliseconds / 1_000)
        self._state(name, progress)
        lag = max(_number(float(source.metrics.get("maxOffsetsBehindLatest", 0))) for source in progress.sources)
        LAG.labels(name).set(lag)
        reads_seed = any("FileStreamSource" in one.description and one.numInputRows for one in progress.sources)
        if lag == 0 and not reads_seed:
            READY.caught_up(name)
        # Objects of py4j refer to themselves: until Python looks for such, the JVM keeps every plan of every batch.
        gc.collect()

    def _state(self, name: str, progress: Any) -> None:
        for number, operator in enumerate(progress.stateOperators):
            label = f"{number}-{operator.operatorName}"
            STATE_ROWS.labels(name, label).set(operator.numRowsTotal)
            STATE_BYTES.labels(name, label).set(operator.memoryUsedBytes)
            STATE_EVICTION.labels(name, label).set(operator.allRemovalsTimeMs / 1_000)
            DROPPED.labels(name).inc(operator.numRowsDroppedByWatermark)
        observed = progress.observedMetrics
        late = [row["rows"] for what, row in observed.items() if what.startswith(BEHIND_WATERMARK)]
        DROPPED.labels(name).inc(sum(late))
        watermark = progress.eventTime.get("watermark")
        if watermark:
            WATERMARK.labels(name).set(_seconds(watermark))


def _number(value: float | None) -> float:
    return value if value is not None and value == value else 0.0


def _seconds(watermark: str) -> float:
    return parse_time(watermark).timestamp()
