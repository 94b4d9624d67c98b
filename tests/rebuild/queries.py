"""The jobs' own queries, run in the test's session until they have read what there is."""

from types import ModuleType

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS
from jobs.checkpoints import committed_offsets
from runtime.offsets import Offsets, ends, reached
from runtime.processes import wait_until

PATIENCE = 120


def run_once(spark: SparkSession, settings: Settings, *jobs: ModuleType) -> None:
    """Start the queries of the jobs, one job after the other, and stop each once it has read all there is."""
    for job in jobs:
        queries = job.start(spark.newSession(), settings)
        for query in queries:
            topics = (POSTS_WITH_COUNTS,) if query.name == "posts_with_counts_lake" else FACT_TOPICS
            _wait(query, settings, ends(settings, topics))
        for query in queries:
            query.stop()


def _wait(query: StreamingQuery, settings: Settings, goal: Offsets) -> None:
    """Not `processAllAvailable`: a clock source always has more."""

    def has_read_all() -> bool:
        if query.exception() is not None:
            raise AssertionError(str(query.exception()))
        done = committed_offsets(settings.checkpoint_dir / query.name)
        return reached(done, {topic: parts for topic, parts in goal.items() if any(parts.values())})

    wait_until(has_read_all, PATIENCE, lambda: f"{query.name} does not read all: {query.lastProgress}")
