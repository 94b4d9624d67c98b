"""What the counts cost where state is large, and where one post has half of the traffic."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bench import facts
from bench.catch_up import COUNTS, CaughtUp, as_measures, until_caught_up
from bench.facts import History
from bench.live import Pace, send, until_ready
from bench.measures import Measure
from bench.phases import Phases
from bench.place import Place
from bench.usage import files_in
from contract.topics import POSTS_WITH_COUNTS
from runtime.parts import job_metrics
from runtime.processes import wait_until

LIVE = Pace(1_000, 5, 10)
TOLD_SECONDS = 120


@dataclass(frozen=True)
class State:
    """The counts job's state: its largest operator has a row for each standing pair."""

    pairs: float
    memory_bytes: float
    disk_bytes: int

    @classmethod
    def of(cls, place: Place) -> "State":
        metrics = job_metrics(place.settings, POSTS_WITH_COUNTS)
        memory = [size for name, size in metrics.items() if name.startswith("msm_job_state_memory_bytes{")]
        folder = place.settings.checkpoint_dir / POSTS_WITH_COUNTS / "state"
        return cls(_pairs(metrics), sum(memory), files_in(folder).size)


def _pairs(metrics: Mapping[str, float]) -> float:
    return max((rows for name, rows in metrics.items() if name.startswith("msm_job_state_rows{")), default=0)


def _told(place: Place) -> bool:
    """Rows are counted when the job has gone live, and told at the end of a batch."""
    return _pairs(job_metrics(place.settings, POSTS_WITH_COUNTS)) > 0


def histories(many: int) -> tuple[History, History]:
    """All posts alike, and half on one; so many users that a pair is seldom there twice, on that one post either."""
    even = History(many, users=100 * many, zipf=0)
    return even, replace(even, hot=0.5)


def growth(place: Place, many: int) -> Iterable[Measure]:
    """All posts alike, with a pair for almost each fact, and live traffic on that; then half of it on one post.

    Live in batches, also where real time is there: a batch of that has one end in minutes, and no phases before it.
    """
    even, hot = histories(many)
    place.empty()
    facts.write(place.settings, even)
    began = time.monotonic()
    in_batches = Place(place.settings.counting_in_batches())
    with in_batches.running(COUNTS.name) as job:
        of_even = until_caught_up(place.settings, COUNTS, job, began)
        yield from as_measures("even", of_even, of_even.way)
        if of_even.slower is not None:
            how = "seconds a fact in the second half over those in the first, the first batch left out"
            yield Measure("even.second_half", "times", of_even.slower, how)
        until_ready(place, job)
        phases = Phases(place, COUNTS.name, job)
        send(place, LIVE, "growth", [phases])
        wait_until(lambda: _told(place), TOLD_SECONDS, lambda: "the job does not tell its rows of state")
        yield from _state(State.of(place))
    yield phases.cores("state.1000")
    yield from phases.of_batch("state.1000", COUNTS.name)
    of_hot = _hot(in_batches, hot)
    yield from as_measures("hot", of_hot, of_hot.way)
    how = "processor time after start-up, one post with half of the engagement over all posts alike"
    yield Measure("hot.over_even", "times", of_hot.cost / of_even.cost, how)


def _hot(place: Place, history: History) -> CaughtUp:
    place.empty()
    facts.write(place.settings, history)
    began = time.monotonic()
    with place.running(COUNTS.name) as job:
        return until_caught_up(place.settings, COUNTS, job, began)


def _state(state: State) -> Iterable[Measure]:
    how = f"with {state.pairs:,.0f} standing pairs"
    yield Measure("state.pairs", "pairs", state.pairs, "rows of the largest operator", "higher")
    yield Measure("state.disk", "bytes/pair", state.disk_bytes / state.pairs, f"all versions that are kept, {how}")
    yield Measure("state.memory", "MiB", state.memory_bytes / 2**20, f"what RocksDB says of itself, {how}")
