"""How fast a job does what waits in the topics, and what that costs: started as the stack starts it."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from bench.measures import Measure
from bench.place import Place, refuse_ended
from bench.usage import Usage, usage_of
from conf.kafka import partitions_of
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from jobs.checkpoints import PROJECTED, seen_offsets
from jobs.offsets import consumer_of, ends, reached, total
from jobs.submit import MANY
from runtime.processes import Process

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 900
MILLION = 1_000_000


@dataclass(frozen=True)
class Job:
    """A job's queries, each with the topics that it must have read, and where its first output shows."""

    name: str
    queries: dict[str, tuple[str, ...]]
    output: str = ""


COUNTS = Job("posts_with_counts", {"posts_with_counts": FACT_TOPICS}, POSTS_WITH_COUNTS)
TRENDING = Job("trending_posts", {"trending_posts": FACT_TOPICS, "first_hour_engagement": FACT_TOPICS}, TRENDING_POSTS)
ARCHIVE = Job("archive", {"events": FACT_TOPICS, PROJECTED: (POSTS_WITH_COUNTS,)})


@dataclass(frozen=True)
class CaughtUp:
    """Seconds are counted from the start of the process; `facts` is what the first query has read.

    `first_batch`: when that query had done its first batch, and how many facts were in it; `half`: when it had done
    half of all, and how many those were; `start_up`: when it began its first batch, and processor seconds until then.
    """

    facts: int
    seconds: float
    first_output: float
    first_batch: tuple[float, int]
    half: tuple[float, int]
    start_up: tuple[float, float]
    usage: Usage

    @property
    def overall(self) -> float:
        return self.facts / self.seconds

    @property
    def steady(self) -> float | None:
        """Facts a second after the first batch; None where there was no other."""
        return _rate(self.first_batch, (self.seconds, self.facts))

    @property
    def slower(self) -> float | None:
        """How many times as long a fact of the second half took as one of the first; None without a batch in each."""
        before = _rate(self.first_batch, self.half)
        after = _rate(self.half, (self.seconds, self.facts))
        return before / after if before and after else None

    @property
    def cost(self) -> float:
        """Processor seconds a million facts, without start-up."""
        return (self.usage.cpu_seconds - self.start_up[1]) / self.facts * MILLION

    @property
    def way(self) -> str:
        """How a job, unlike the floor, goes about few facts."""
        return "" if self.facts >= MANY else "; interpreted, as live batches are, since few facts wait"


def _rate(since: tuple[float, int], until: tuple[float, int]) -> float | None:
    """Facts a second between two moments of (seconds, facts done); None where nothing was done."""
    return (until[1] - since[1]) / (until[0] - since[0]) if until[1] > since[1] else None


def until_caught_up(settings: Settings, job: Job, process: Process, began: float) -> CaughtUp:
    """Watch from outside until every query has done all that is in its topics now."""
    goals = {query: ends(settings, topics) for query, topics in job.queries.items()}
    facts = total(goals[next(iter(goals))])
    first_output, first_batch, half, start_up = 0.0, (0.0, 0), (0.0, 0), (0.0, 0.0)
    begun = settings.checkpoint_dir / next(iter(goals)) / "offsets" / "0"
    with closing(consumer_of(settings)) as consumer:
        places = partitions_of(consumer, [job.output] if job.output else [])
        while True:
            done = {query: seen_offsets(settings.checkpoint_dir / query) for query in goals}
            seconds = time.monotonic() - began
            first = total(done[next(iter(goals))])
            if not start_up[0] and begun.exists():
                start_up = (seconds, usage_of(process.popen.pid).cpu_seconds)
            if first and not first_batch[1]:
                first_batch = (seconds, first)
            if 2 * first >= facts and not half[1]:
                half = (seconds, first)
            if not first_output and (any(consumer.end_offsets(places).values()) if places else first):
                first_output = seconds
            if all(reached(done[query], goals[query]) for query in goals):
                usage = usage_of(process.popen.pid)
                return CaughtUp(facts, seconds, first_output, first_batch, half, start_up, usage)
            _refuse_hopeless(job, process, seconds)
            time.sleep(LOOK_SECONDS)


def _refuse_hopeless(job: Job, process: Process, seconds: float) -> None:
    refuse_ended(process)
    if seconds > PATIENCE_SECONDS:
        raise SystemExit(f"{job.name} has not caught up in {PATIENCE_SECONDS} s (log: {process.log.name})")


def catch_up(place: Place, job: Job, name: str) -> Sequence[Measure]:
    """Run the job from nothing until it has caught up; `name` is what the measures are called."""
    began = time.monotonic()
    with place.running(job.name) as process:
        found = until_caught_up(place.settings, job, process, began)
    return as_measures(name, found, found.way)


def as_measures(name: str, found: CaughtUp, way: str = "") -> Sequence[Measure]:
    """What is said of a catch-up, each beside the same of the floor."""
    after = f"{found.facts:,} facts, from the start of spark-submit until the last one was committed{way}"
    rate, cost = "floor.overall", "floor.cpu"
    measures = [
        Measure(f"{name}.overall", "facts/s", found.overall, after, "higher", rate),
        Measure(f"{name}.first_output", "s", found.first_output, "from the start of spark-submit", "lower", cost),
        Measure(
            f"{name}.cpu",
            "CPU s/million",
            found.usage.cpu_seconds / found.facts * MILLION,
            f"user and system time of the JVM and all its children, start-up included{way}",
            "lower",
            cost,
        ),
        Measure(f"{name}.start_up", "s", found.start_up[0], "until the first batch was planned", "lower", cost),
        Measure(
            f"{name}.cpu_after_start_up",
            "CPU s/million",
            found.cost,
            "the same, from when the first batch was planned",
            "lower",
            "floor.cpu_after_start_up",
        ),
        Measure(f"{name}.peak_memory", "MiB", found.usage.peak_bytes / 2**20, "peak RSS of the JVM and its children"),
    ]
    if found.steady is not None:
        how = f"{found.facts - found.first_batch[1]:,} facts after the first batch"
        measures.insert(1, Measure(f"{name}.steady", "facts/s", found.steady, how, "higher", rate))
    return measures if name != "floor" else [replace(one, floor="") for one in measures]
