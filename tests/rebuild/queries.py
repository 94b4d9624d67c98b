"""The jobs' own queries, run in the test's session until they have read what there is."""

from collections.abc import Sequence
from types import ModuleType

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS
from jobs import posts_with_counts, trending_posts
from jobs.checkpoints import committed_offsets
from jobs.offsets import ends, reached
from runtime.children import ranked_from_now
from runtime.processes import wait_until

PATIENCE = 120
PROJECTION = "posts_with_counts_lake"


def run_once(spark: SparkSession, settings: Settings, *jobs: ModuleType) -> None:
    """Start the queries of the jobs, one job after the other, and stop each once it has read all there is."""
    for job in jobs:
        queries = job.start(spark.newSession(), settings)
        for query in queries:
            if query.name == posts_with_counts.NAME:
                query.processAllAvailable()  # it may read more than topics
            else:
                wait_until_read(query, settings)
        if job is trending_posts:
            wait_until(ranked_from_now(settings), PATIENCE, lambda: "nothing is ranked")
        for query in queries:
            query.stop()


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
    goal = ends(settings, [POSTS_WITH_COUNTS] if query.name == PROJECTION else FACT_TOPICS)

    def has_read_all() -> bool:
        if query.exception() is not None:
            raise AssertionError(str(query.exception()))
        return reached(committed_offsets(settings.checkpoint_dir / query.name), goal)

    wait_until(has_read_all, PATIENCE, lambda: f"{query.name} does not read all: {query.lastProgress}")
