"""The jobs' own queries, run in the test's session until they have read what there is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS
from jobs import archive, posts_with_counts, trending_posts
from jobs.checkpoints import PROJECTED, committed_offsets
from jobs.offsets import Offsets, ends, reached
from runtime.children import ranked_from_now
from runtime.processes import wait_until

PATIENCE = 600
MODULES = {module.NAME: module for module in (posts_with_counts, trending_posts, archive)}
Running = Mapping[str, Sequence[StreamingQuery]]


@contextmanager
def running(
    spark: SparkSession, settings: Settings, jobs: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The queries of the jobs until the block is over: what commands get from `running_jobs` as processes."""
    with ExitStack() as stack:
        started = {}
        for job in jobs:
            started[job] = MODULES[job].start(spark.newSession(), settings)
            for query in started[job]:
                stack.callback(query.stop)
        yield started


def have_read_all(settings: Settings, jobs: Running) -> bool:
    """True, once they have: what commands ask of processes as `caught_up`."""
    for queries in jobs.values():
        for query in queries:
            wait_until_read(query, settings)
    return True


def run_once(spark: SparkSession, settings: Settings, *jobs: ModuleType) -> None:
    """Start the queries of the jobs, one job after the other, and stop each once it has read all there is."""
    for job in jobs:
        with running(spark, settings, [job.NAME]) as started:
            have_read_all(settings, started)
            if job is trending_posts:
                wait_until(ranked_from_now(settings), PATIENCE, lambda: "nothing is ranked")


def catch_up(spark: SparkSession, settings: Settings, job: ModuleType) -> None:
    """Run the queries of a job over what is there, until they end by themselves."""
    until_ended(job.start(spark.newSession(), settings, True))


def evict(spark: SparkSession, settings: Settings) -> None:
    """The same with those batches of the rankings that drop old state."""
    until_ended(trending_posts.evict(spark.newSession(), settings))


def until_ended(queries: Sequence[StreamingQuery]) -> None:
    assert all(query.awaitTermination(PATIENCE) for query in queries), "they do not end"


def wait_until_read(query: StreamingQuery, settings: Settings) -> None:
    """`processAllAvailable` would wait for one more of their ticks, or, where they have a clock, for ever."""
    if query.name == posts_with_counts.NAME:
        query.processAllAvailable()  # it may read more than topics
        return
    is_done = partial(has_read, query, settings, all_for(query, settings))
    wait_until(is_done, PATIENCE, lambda: f"{query.name} does not read all: {query.lastProgress}")


def all_for(query: StreamingQuery, settings: Settings) -> Offsets:
    """Up to where it can read now."""
    return ends(settings, [POSTS_WITH_COUNTS] if query.name == PROJECTED else FACT_TOPICS)


def has_read(query: StreamingQuery, settings: Settings, goal: Offsets) -> bool:
    if query.exception() is not None:
        raise AssertionError(str(query.exception()))
    return reached(committed_offsets(settings.checkpoint_dir / query.name), goal)
