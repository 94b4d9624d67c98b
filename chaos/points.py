"""Points inside a batch, told from outside by which files of the stack have changed since the batch was planned."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.checkpoints import begun_batch, done_batch

POLL_SECONDS = 0.001
Sizes = dict[Path, int]


@dataclass(frozen=True)
class Point:
    """Batch N of a query is planned and not done, files of `grew` have changed, and none of `still` has.

    Both are globs under the data dir.
    """

    part: str
    query: str
    grew: str = ""
    still: str = ""


@dataclass(frozen=True)
class Struck:
    """A batch that was struck; one that was committed nevertheless, in the moment of the kill, is not undone."""

    batch: int
    undone: bool


POINTS: dict[str, Point] = {
    "after reading began": Point("posts_with_counts", "posts_with_counts"),
    "while state is committed": Point(
        "posts_with_counts", "posts_with_counts", grew="checkpoints/posts_with_counts/state/*/*/[0-9]*.*"
    ),
    "during a checkpoint upload": Point(
        "posts_with_counts", "posts_with_counts", grew="checkpoints/posts_with_counts/state/*/*/.*.tmp"
    ),
    "after Kafka, before the commit": Point(
        "posts_with_counts", "posts_with_counts", grew="kafka/log/posts_with_counts-*/*.log"
    ),
    "after the Delta write, before the commit": Point("archive", "events", grew="lake/events/_delta_log/*.json"),
    "after rising was written, before the commit": Point(
        "trending_posts", "first_hour_engagement", grew="lake/first_hour_engagement/_delta_log/*.json"
    ),
    "inside MERGE": Point(
        "archive",
        "posts_with_counts_lake",
        grew="lake/posts_with_counts/*.parquet",
        still="lake/posts_with_counts/_delta_log/*.json",
    ),
    "between the ranking and its panes": Point(
        "trending_posts",
        "trending_posts",
        grew="kafka/log/trending_posts-0/*.log",
        still="lake/engagement_by_minute/_delta_log/*.json",
    ),
    "after the panes were kept, before the commit": Point(
        "trending_posts", "trending_posts", grew="lake/engagement_by_minute/_delta_log/*.json"
    ),
}


def sizes(data: Path, pattern: str) -> Sizes:
    """Of each file that matches its size; of those that vanish meanwhile none."""
    found: Sizes = {}
    for path in data.glob(pattern) if pattern else ():
        try:
            found[path] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def grown(before: Sizes, after: Sizes) -> bool:
    """Whether a file came or got larger."""
    return any(size > before.get(path, -1) for path, size in after.items())


class Watch:
    """Waits for a point, one look after the other."""

    def __init__(self, data: Path, point: Point) -> None:
        self._data, self._point = data, point
        self._checkpoint = data / "checkpoints" / point.query
        # The batch that runs when one begins to look may be past the point.
        self._batch = self._first = begun_batch(self._checkpoint)
        self._grew, self._still = self._sizes()

    def _sizes(self) -> tuple[Sizes, Sizes]:
        return sizes(self._data, self._point.grew), sizes(self._data, self._point.still)

    def reached(self) -> int | None:
        """The batch that is at the point now."""
        planned = begun_batch(self._checkpoint)
        if planned != self._batch:
            self._batch = planned
            self._grew, self._still = self._sizes()
        if planned == self._first:
            return None
        grew, still = self._sizes()
        has_grown = not self._point.grew or grown(self._grew, grew)
        at_point = has_grown and not grown(self._still, still)
        return planned if at_point and not self.is_done(planned) else None

    def is_done(self, batch: int) -> bool:
        return done_batch(self._checkpoint) >= batch

    def strike(self, kill: Callable[[], None], seconds: float) -> Struck | None:
        """Kill at the point; None where it was not reached in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            batch = self.reached()
            if batch is not None:
                kill()
                return Struck(batch, undone=not self.is_done(batch))
            time.sleep(POLL_SECONDS)
        return None
