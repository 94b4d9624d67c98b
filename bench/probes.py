"""Which fact is in which output, exactly: the n-th like of a probe post is in the first row that says n likes or more.

Times are seconds of `time.monotonic()`, which all processes of a machine share.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.measures import Measure
from jobs.offsets import Offsets

T = TypeVar("T")
EVERY = 10
"""One fact in so many is a probe."""


@dataclass(frozen=True)
class Sent:
    """The `number`-th like of a probe post, handed to the producer `at`, and where Kafka put it."""

    post: str
    number: int
    at: float
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Seen:
    """A row of a probe post, as a reader got it `at`; where it was in the topic, if it came from one."""

    post: str
    likes: int
    at: float
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True)
class Mark:
    """Something says that it has everything below these offsets, {topic: {partition: next offset}}."""

    at: float
    offsets: Offsets


@dataclass(frozen=True)
class OwnWrite:
    """A command over HTTP: when it was sent, when it was answered, and when a read with its token was."""

    began: float
    answered: float
    visible: float
    caught_up: bool


class Unmatched(ValueError):  # noqa: N818 - said as what it is
    """What was seen cannot come from what was sent."""


def first_rows(sent: Iterable[Sent], seen: Iterable[Seen]) -> list[tuple[Sent, Seen]]:
    """Each like with the first row that it is in; Unmatched where one is in none, or a row has more than was sent."""
    waiting: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        waiting[one.post].append(one)
    for post, likes in waiting.items():
        if [like.number for like in likes] != list(range(1, len(likes) + 1)):
            raise Unmatched(f"the likes of {post} were not sent as 1, 2, 3, ...")
    found: list[tuple[Sent, Seen]] = []
    shown: dict[str, int] = defaultdict(int)
    for row in sorted((row for row in seen if row.post in waiting), key=lambda row: row.at):
        likes = waiting[row.post]
        if row.likes > len(likes):
            raise Unmatched(f"{row.post} has {row.likes} likes, and only {len(likes)} were sent")
        found += [(like, row) for like in likes[shown[row.post] : row.likes]]
        shown[row.post] = max(shown[row.post], row.likes)
    missing = sum(len(likes) - shown[post] for post, likes in waiting.items())
    if missing:
        raise Unmatched(f"{missing} of {sum(map(len, waiting.values()))} likes were never seen")
    return found


def first_marks(places: Iterable[tuple[T, str, int, int]], marks: Sequence[Mark]) -> list[tuple[T, float]]:
    """Each (what, topic, partition, offset) with when the first mark covered it; Unmatched where none did."""
    found = []
    ordered = sorted(marks, key=lambda mark: mark.at)
    for what, topic, partition, offset in places:
        at = next((m.at for m in ordered if m.offsets.get(topic, {}).get(partition, 0) > offset), None)
        if at is None:
            raise Unmatched(f"{topic}, partition {partition}, offset {offset} was never covered")
        found.append((what, at))
    return found


def percentiles(name: str, seconds: Sequence[float], how: str) -> list[Measure]:
    """Median, p95, p99 and maximum of so many latencies, in milliseconds."""
    if len(seconds) < 2:
        raise Unmatched(f"{name}: {len(seconds)} latencies say nothing")
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    values = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    told = f"{how}; {len(seconds):,} of them"
    return [
        Measure(f"{name}.{label}", "ms", value * 1_000, told, "lower", "floor.cpu") for label, value in values.items()
    ]


def append(log: IO[str], records: Iterable[Any]) -> None:
    """Dataclasses as JSON lines, for another process to read at once."""
    log.write("".join(f"{json.dumps(asdict(one))}\n" for one in records))
    log.flush()


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """What `append` wrote so far; a line that is not whole yet is left."""
    whole = path.read_text().rpartition("\n")[0]
    return [kind(**json.loads(line)) for line in whole.splitlines()]
