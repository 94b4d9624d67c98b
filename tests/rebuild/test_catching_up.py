"""Before a job goes live, it does what waits in the topics, in batches that end by themselves."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import TRENDING_POSTS
from jobs import archive, harness, posts_with_counts, trending_posts
from jobs.checkpoints import STATES, committed_offsets, done_batch
from jobs.harness import UNCOUNTED, facts_waiting
from jobs.offsets import ends, reached, total
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


@pytest.mark.spark
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_while_the_rankings_catch_up_not_every_batch_ranks(
    spark: SparkSession, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trending_posts, "RANK_WHILE_CATCHING_UP", timedelta(hours=1))
    write(broker, facts_before())
    catch_up(spark, broker.model_copy(update={"max_facts_a_batch": 40}), trending_posts)
    assert done_batch(broker.checkpoint_dir / trending_posts.NAME) > 1
    assert total(ends(broker, [TRENDING_POSTS])) == 1
    run_once(spark, broker, trending_posts)
    assert total(ends(broker, [TRENDING_POSTS])) > 1


class Query:
    """Runs, or has ended; it may have done a batch."""

    def __init__(self, is_active: bool, progress: object = None) -> None:
        self.isActive = is_active
        self.lastProgress = progress

    def awaitTermination(self) -> None:  # noqa: N802
        assert not self.isActive


def test_one_waits_for_a_batch_of_each_that_evicts(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    queries: Any = [Query(True, "a batch"), Query(False), Query(True)]
    assert [harness._did_a_batch(query) for query in queries] == [True, True, False]
    never = Event()
    assert not harness._told_to_stop(queries[:2], all, never, tmp_path / "none", is_done=harness._did_a_batch)
    assert harness._told_to_stop(queries, all, never, tmp_path / "stop", is_done=harness._did_a_batch)


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
