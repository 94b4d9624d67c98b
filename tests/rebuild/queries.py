"""The jobs' own queries, run in the test's session until they have read what there is."""

from types import ModuleType

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from jobs.checkpoints import committed_offsets
from runtime.offsets import Offsets, ends, reached
from runtime.processes import wait_until

PATIENCE = 120
HAVE_A_CLOCK = {"trending_posts"}
"""Queries that always have one more batch to do, so that `processAllAvailable` never returns."""


def run_once(spark: SparkSession, settings: Settings, *jobs: ModuleType) -> None:
    """Start the queries of the jobs, one job after the other, and stop each once it has read all there is."""
    for job in jobs:
        queries = job.start(spark.newSession(), settings)
        for query in queries:
            if query.name in HAVE_A_CLOCK:
                _wait(query, settings, ends(settings, FACT_TOPICS))
            else:
                query.processAllAvailable()
        for query in queries:
            query.stop()


def _wait(query: StreamingQuery, settings: Settings, goal: Offsets) -> None:
    def has_read_all() -> bool:
        if query.exception() is not None:
            raise AssertionError(str(query.exception()))
        done = committed_offsets(settings.checkpoint_dir / query.name)
        return reached(done, goal)

    wait_until(has_read_all, PATIENCE, lambda: f"{query.name} does not read all: {query.lastProgress}")
