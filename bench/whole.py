"""The whole stack under steady traffic: what a page sees, how fresh rankings and tables are, what a tick costs."""

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench import facts
from bench.facts import post_id
from bench.latency import POSTS, commits, of_rows, reached, told
from bench.live import Pace, Reading, Traffic, matched, reading, send, until_ready
from bench.measures import Measure
from bench.phases import Phases
from bench.place import Place
from bench.probes import Mark, OwnWrite, Unmatched, first_marks, first_rows, percentiles, read_lines
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from jobs.checkpoints import STATES, seen_offsets
from runtime.parts import JOBS
from runtime.processes import Process

LOOK_SECONDS = 0.1


class Commits:
    """Sees each commit of a query, from its checkpoint; runs on after the traffic, until it is closed."""

    def __init__(self, place: Place, query: str) -> None:
        self._folder = place.settings.checkpoint_dir / query
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.marks: list[Mark] = []

    def __enter__(self) -> "Commits":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            mark = Mark(time.monotonic(), seen_offsets(self._folder))
            if mark.offsets and (not self.marks or self.marks[-1].offsets != mark.offsets):
                self.marks.append(mark)


@dataclass(frozen=True)
class Seeing:
    """Everything that looks on while traffic flows."""

    rows: Reading
    rankings: Reading
    page: Reading
    own: Reading
    events: Commits
    table: Commits


def whole(place: Place, paces: Sequence[Pace]) -> Iterable[Measure]:
    """Broker, all jobs and the website with all services, on one machine with the traffic and the readers."""
    place.empty()
    facts.write(place.settings, POSTS)
    with ExitStack() as stack:
        started = start_all(place, stack)
        for pace in paces:
            phases = {job: Phases(place, job, started[job], seldom=TRENDING_POSTS) for job in JOBS}
            with ExitStack() as readers:
                seeing = _look_on(place, readers)
                traffic = send(place, pace, f"whole-{pace.rate}", list(phases.values()))
                yield from _latencies(f"whole.{pace.rate}", traffic, seeing, commits(place, phases[POSTS_WITH_COUNTS]))
            yield from _costs(f"whole.{pace.rate}", phases)


def start_all(place: Place, stack: ExitStack) -> dict[str, Process]:
    """All jobs and the website, in the order in which the supervisor starts them, until they are ready."""
    started = {name: stack.enter_context(place.running(name)) for name in (JOBS[0], "web")}
    until_ready(place, *started.values())
    started |= {name: stack.enter_context(place.running(name)) for name in JOBS[1:]}
    until_ready(place, *started.values())
    return started


def _look_on(place: Place, stack: ExitStack) -> Seeing:
    return Seeing(
        stack.enter_context(reading(place, "reader", "--topic", POSTS_WITH_COUNTS)),
        stack.enter_context(reading(place, "reader", "--topic", TRENDING_POSTS)),
        stack.enter_context(reading(place, "page", "stream")),
        stack.enter_context(reading(place, "page", "own", "--post", post_id(0))),
        *(stack.enter_context(Commits(place, query)) for query in STATES["archive"]),
    )


def _latencies(name: str, traffic: Traffic, seeing: Seeing, note: str) -> Iterable[Measure]:
    """`note` is for what comes by way of the counts."""
    yield reached(name, traffic)
    yield from percentiles(f"{name}.kafka", of_rows(traffic, seeing.rows), told("a committed row", traffic) + note)
    how = told("a client of /feed/stream", traffic) + note
    yield from percentiles(f"{name}.sse", of_rows(traffic, seeing.page), how)
    yield from _own_writes(name, traffic, read_lines(seeing.own.log, OwnWrite), note)
    likes = [(one, one.topic, one.partition, one.offset) for one in traffic.sent if traffic.is_measured(one)]
    ranked = matched(lambda: first_marks(likes, seeing.rankings.marks()))
    fresh = [at - like.at for like, at in ranked]
    how = told("a trending ranking in which it was considered", traffic)
    how += f", in {len({at for _, at in ranked})} rankings"
    yield from percentiles(f"{name}.trending", fresh, how)
    kept = matched(lambda: first_marks(likes, seeing.events.marks))
    fresh = [at - like.at for like, at in kept]
    yield from percentiles(f"{name}.lake.events", fresh, told("the commit that has it in the table events", traffic))
    rows = [
        (like, POSTS_WITH_COUNTS, row.partition, row.offset)
        for like, row in first_rows(traffic.sent, seeing.rows.rows())
        if traffic.is_measured(like)
    ]
    kept = matched(lambda: first_marks(rows, seeing.table.marks))
    fresh = [at - like.at for like, at in kept]
    yield from percentiles(f"{name}.lake.counts", fresh, told("the commit of the table posts_with_counts", traffic))


def _own_writes(name: str, traffic: Traffic, writes: Sequence[OwnWrite], note: str) -> Iterable[Measure]:
    last = max(one.at for one in traffic.sent)
    measured = [one for one in writes if traffic.measured_from <= one.began <= last]
    if not all(one.caught_up for one in measured):
        raise Unmatched(f"{sum(not one.caught_up for one in measured)} writes were refused, or waited for in vain")
    commands = [one.answered - one.began for one in measured]
    beside = f"at {traffic.rate:,.0f} other facts/s"
    yield from percentiles(f"{name}.command", commands, f"PUT of a like until the broker has it, {beside}")
    own = [one.visible - one.began for one in measured]
    yield from percentiles(f"{name}.own_write", own, f"PUT of a like until GET with its token has it, {beside}{note}")


def _costs(name: str, phases: dict[str, Phases]) -> Iterable[Measure]:
    for job, seen in phases.items():
        yield seen.cores(f"{name}.{job}")
    ticks = phases[TRENDING_POSTS]
    if not (whole_ticks := ticks.whole()):
        return  # `trending` says how long one takes
    done, seconds, used = whole_ticks
    how = f"of the job, over {done:.0f} ticks in {seconds:.0f} s, the first hours' batches among it"
    yield Measure(f"{name}.tick.cpu", "CPU s/tick", used / done, how, "lower", "floor.cpu")
    yield from ticks.of_batch(f"{name}.tick", TRENDING_POSTS)
