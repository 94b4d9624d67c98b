"""What a job does while traffic flows: its processor time, its batches, and the phases of each."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from bench.measures import Measure
from bench.place import Place
from bench.usage import usage_of
from runtime.parts import job_metrics
from runtime.processes import Process

LOOK_SECONDS = 0.2
PHASE, BATCHES = "msm_job_batch_phase_seconds{", "msm_job_batches_total{"


@dataclass(frozen=True)
class End:
    """When it was seen that so many batches were done, and the job's processor seconds then."""

    at: float
    batches: float
    cpu_seconds: float


class Phases:
    """Looks at the job's own metrics several times a second, from when it is entered until it is left.

    `seldom` is a query with few batches: it is counted from the end of one to that of another.
    """

    def __init__(self, place: Place, job: str, process: Process, seldom: str = "") -> None:
        self._place, self._job, self._process, self._seldom = place, job, process, seldom
        self.ends: list[End] = []
        """Of the batches of the seldom one."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._phases: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.batches: dict[str, float] = defaultdict(float)
        """Of each query."""
        self.cpu_seconds = self.seconds = 0.0

    def __enter__(self) -> "Phases":
        self._began, self._cpu_before = time.monotonic(), usage_of(self._process.popen.pid).cpu_seconds
        self._before = self._last = self._batches()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began
        self.cpu_seconds = usage_of(self._process.popen.pid).cpu_seconds - self._cpu_before
        for query, count in self._batches().items():
            self.batches[query] = count - self._before.get(query, 0)

    def cores(self, name: str) -> Measure:
        """How many cores the job keeps busy."""
        return Measure(f"{name}.cores", "cores", self.cpu_seconds / self.seconds, f"in {self.seconds:.0f} s", "lower")

    def batch_seconds(self, query: str) -> float | None:
        """Mean of the batches that were seen, from trigger to commit; None where there was none."""
        seconds = self._phases.get((query, "triggerExecution"))
        return fmean(seconds) if seconds else None

    def of_batch(self, name: str, query: str) -> list[Measure]:
        """Mean of each phase of the batches that were seen, and how many there were a second."""
        done, seconds = self.batches[query], self.seconds
        if query == self._seldom and (whole := self.whole()):
            done, seconds, _ = whole
        how = f"{done:.0f} batches in {seconds:.0f} s, from the job's own metrics"
        rate = Measure(f"{name}.batches", "batches/s", done / seconds, how, "higher")
        return [rate] + [
            Measure(f"{name}.phase.{phase}", "ms", fmean(values) * 1_000, how, "lower", "floor.cpu")
            for (of, phase), values in sorted(self._phases.items())
            if of == query
        ]

    def whole(self) -> tuple[float, float, float] | None:
        """Batches of the seldom query between two ends, and seconds and processor seconds of that time."""
        if len(self.ends) < 2:
            return None
        first, last = self.ends[0], self.ends[-1]
        return last.batches - first.batches, last.at - first.at, last.cpu_seconds - first.cpu_seconds

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            metrics = job_metrics(self._place.settings, self._job)
            done = batches_of(metrics)
            if done.get(self._seldom, 0) > self._last.get(self._seldom, 0):
                used = usage_of(self._process.popen.pid).cpu_seconds
                self.ends.append(End(time.monotonic(), done[self._seldom], used))
            for metric, value in metrics.items():
                labels = _labels(metric)
                if metric.startswith(PHASE) and done[labels["query"]] > self._last.get(labels["query"], 0):
                    self._phases[labels["query"], labels["phase"]].append(value)  # of each batch once
            self._last = done

    def _batches(self) -> dict[str, float]:
        return batches_of(job_metrics(self._place.settings, self._job))


def batches_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """How many batches each query of a job has done."""
    return {_labels(name)["query"]: count for name, count in metrics.items() if name.startswith(BATCHES)}


def _labels(metric: str) -> dict[str, str]:
    """Of `name{a="x",b="y"}`; no value of ours has a comma or a quote in it."""
    pairs = metric.partition("{")[2].rstrip("}").split(",")
    return {name: value.strip('"') for name, _, value in (pair.partition("=") for pair in pairs)}
