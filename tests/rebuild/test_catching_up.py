"""Before a job goes live, it does what waits in the topics, in batches that end by themselves."""

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from jobs import archive, harness, posts_with_counts, trending_posts
from jobs.checkpoints import STATES, committed_offsets
from jobs.harness import UNCOUNTED, facts_waiting
from jobs.offsets import ends, reached
from jobs.submit import INTERPRETED
from tests import reference
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import catch_up, run_once
from tests.rebuild.test_backfill import Reader


@pytest.mark.spark
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_a_job_does_what_waits_and_ends_and_then_goes_on_from_the_same_checkpoint(
    spark: SparkSession, broker: Settings
) -> None:
    first = facts_before()
    write(broker, first)
    for job in (posts_with_counts, trending_posts, archive):
        read = next(iter(STATES[job.NAME]))
        assert facts_waiting(broker, read) == len(first)
        catch_up(spark, broker, job)
        assert facts_waiting(broker, read) == 0
        for query in STATES[job.NAME].keys() - {"posts_with_counts_lake"}:
            assert reached(committed_offsets(broker.checkpoint_dir / query), ends(broker, FACT_TOPICS))
    assert Reader(spark, broker).posts() == reference.posts_with_counts(first)
    then = facts_after()
    write(broker, then)
    assert facts_waiting(broker, posts_with_counts.NAME) == len(then)
    run_once(spark, broker, posts_with_counts)
    assert Reader(spark, broker).posts() == reference.posts_with_counts(first + then)


@pytest.mark.spark
def test_what_waits_is_compiled_and_what_is_live_is_not(spark: SparkSession, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def start(session: SparkSession, _: Settings, catching_up: bool) -> list[Any]:
        assert catching_up
        seen.append(options(session))
        return []

    def options(session: SparkSession) -> dict[str, str]:
        return {row.key: row.value for row in session.sql("SET").collect() if row.key in {*INTERPRETED, *UNCOUNTED}}

    session = spark.newSession()
    harness._change(session, INTERPRETED)
    harness._compiled(start, session, Settings(data_dir=tmp_path))
    assert (seen, options(session)) == ([UNCOUNTED], INTERPRETED)


class Query:
    """Runs, or has ended."""

    def __init__(self, is_active: bool) -> None:
        self.isActive = is_active

    def awaitTermination(self) -> None:  # noqa: N802
        assert not self.isActive


@pytest.mark.parametrize(
    ("running", "how_many", "ended"),
    [((True, False), any, True), ((False, False), all, True), ((True, True), any, False)],
)
def test_one_waits_for_all_that_catch_up_and_for_any_that_is_live(
    running: tuple[bool, ...], how_many: Callable[[Iterable[bool]], bool], ended: bool, tmp_path: Path
) -> None:
    stop = Event()
    if not ended:
        stop.set()
    queries: Any = [Query(active) for active in running]
    assert harness._told_to_stop(queries, how_many, stop, tmp_path / "stop") is not ended
