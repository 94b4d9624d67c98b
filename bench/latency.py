"""How long a like takes: from the producer's call to a read-committed consumer of the counts, the job alone."""

from collections.abc import Iterable, Sequence

from bench import facts
from bench.facts import History
from bench.live import Pace, Reading, Traffic, matched, reading, send, until_ready
from bench.measures import Measure
from bench.phases import Phases
from bench.place import Place
from bench.probes import first_rows, percentiles
from contract.facts import PostLiked
from contract.topics import POSTS_WITH_COUNTS
from jobs.realtime import is_real_time

POSTS = History(20_000)
"""Nothing but the posts that the traffic is about."""
FLOOR = Pace(1_000, 2, 8)


def latency(place: Place, paces: Sequence[Pace]) -> Iterable[Measure]:
    """Broker, job, traffic and reader, and nothing else."""
    place.empty()
    facts.write(place.settings, POSTS)
    yield from floor(place)
    with place.running(POSTS_WITH_COUNTS) as job:
        until_ready(place, job)
        for pace in paces:
            name = f"latency.{pace.rate}"
            phases = Phases(place, POSTS_WITH_COUNTS, job)
            with reading(place, "reader", "--topic", POSTS_WITH_COUNTS) as rows:
                traffic = send(place, pace, f"alone-{pace.rate}", [phases])
                seconds = of_rows(traffic, rows)
            how = told("a committed row of the counts", traffic) + commits(place, phases)
            yield from percentiles(f"{name}.kafka", seconds, how)
            yield reached(name, traffic)
            yield phases.cores(name)
            yield from phases.of_batch(name, POSTS_WITH_COUNTS)


def floor(place: Place) -> Iterable[Measure]:
    """The same, but read from the topic of the likes itself: what Kafka and Python's clients take."""
    with reading(place, "reader", "--topic", PostLiked.topic) as likes:
        traffic = send(place, FLOOR, "floor")
        seconds = of_rows(traffic, likes)
    yield from percentiles("floor.latency", seconds, told("the like itself, read from its topic", traffic))


def of_rows(traffic: Traffic, rows: Reading) -> list[float]:
    """Seconds of each like that is measured, once all are seen."""
    pairs = matched(lambda: first_rows(traffic.sent, rows.rows()))
    return [row.at - like.at for like, row in pairs if traffic.is_measured(like)]


def told(what: str, traffic: Traffic) -> str:
    return f"from the producer's call to {what}, at {traffic.rate:,.0f} facts/s after {traffic.pace.warm:.0f} s"


def commits(place: Place, counts: Phases) -> str:
    """To add where the counts are in real time: a commit of their state holds rows up for about a second."""
    if not is_real_time(place.settings):
        return ""
    return f"; in real time, commits of the state meanwhile: {counts.batches[POSTS_WITH_COUNTS]:.0f}"


def reached(name: str, traffic: Traffic) -> Measure:
    """A latency at a pace is one only if the pace was reached."""
    how = f"acknowledged, of {traffic.pace.rate:,} that were asked for; the traffic is one process"
    return Measure(f"{name}.sent", "facts/s", traffic.rate, how, "higher")
