"""Before a job goes live, it does what waits in the topics, in batches that end by themselves."""

from datetime import timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.facts import FACT_TOPICS
from contract.topics import TRENDING_POSTS
from jobs import archive, harness, posts_with_counts, rounds, trending_posts
from jobs.checkpoints import STATES, committed_offsets, done_batch
from jobs.offsets import ends, reached, total
from jobs.rounds import UNCOUNTED, facts_waiting
from jobs.sinks.lake import table_path
from jobs.submit import INTERPRETED
from tests import reference
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import catch_up, evict, run_once
from tests.stack.hostile import in_topic


@pytest.mark.spark
@pytest.mark.kafka
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
    assert in_topic(broker, "") == reference.posts_with_counts(first)
    then = facts_after()
    write(broker, then)
    assert facts_waiting(broker, posts_with_counts.NAME) == len(then)
    run_once(spark, broker, posts_with_counts)
    assert in_topic(broker, "") == reference.posts_with_counts(first + then)


@pytest.mark.spark
@pytest.mark.kafka
def test_what_waits_in_one_partition_is_read_by_several_tasks(
    spark: SparkSession, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RECORDS_A_TASK", 5)
    facts = facts_before()
    write(broker, facts)
    tasks: list[int] = []

    def look(batch: DataFrame, _: int) -> None:
        tasks.extend(row["count"] for row in batch.groupBy(F.spark_partition_id()).count().collect())

    waiting = harness.read_topics(spark, broker, *FACT_TOPICS)
    checkpoint = str(broker.checkpoint_dir / "look")
    query = waiting.writeStream.foreachBatch(look).option("checkpointLocation", checkpoint)
    query.trigger(availableNow=True).start().awaitTermination()
    assert max(tasks) <= 5
    assert sum(tasks) == len(facts) == total(ends(broker, FACT_TOPICS))
    assert any(end > 5 for ends_of in ends(broker, FACT_TOPICS).values() for end in ends_of.values())


@pytest.mark.spark
@pytest.mark.kafka
def test_a_live_batch_is_read_by_no_more_tasks_than_state_has_partitions(spark: SparkSession, broker: Settings) -> None:
    write(broker, facts_before())
    run_once(spark, broker, archive)
    events = spark.read.format("delta").load(table_path(broker, tables.EVENTS))
    assert events.select("topic", "partition").distinct().count() > broker.shuffle_partitions
    assert len(events.inputFiles()) <= broker.shuffle_partitions  # each task that has records writes a file


@pytest.mark.spark
def test_what_waits_is_compiled_and_what_is_live_is_not(spark: SparkSession) -> None:
    def options() -> dict[str, str]:
        return {row.key: row.value for row in session.sql("SET").collect() if row.key in {*INTERPRETED, *UNCOUNTED}}

    session = spark.newSession()
    rounds.change(session, INTERPRETED)
    with rounds.compiling(session):
        assert options() == UNCOUNTED
    assert options() == INTERPRETED


@pytest.mark.spark
@pytest.mark.kafka
def test_while_the_rankings_catch_up_not_every_batch_ranks(
    spark: SparkSession, broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trending_posts, "RANK_WHILE_CATCHING_UP", timedelta(hours=1))
    write(broker, facts_before())
    catch_up(spark, broker.model_copy(update={"max_facts_a_batch": 40}), trending_posts)
    assert done_batch(broker.checkpoint_dir / trending_posts.NAME) > 1
    assert total(ends(broker, [TRENDING_POSTS])) == 1
    history = spark.read.format("delta").load(table_path(broker, tables.TRENDING_POSTS))
    assert history.count() == 0  # of its minutes a part of the facts was read
    run_once(spark, broker, trending_posts)
    assert total(ends(broker, [TRENDING_POSTS])) > 1
    assert history.count() > 0


@pytest.mark.spark
@pytest.mark.kafka
def test_a_round_leaves_nothing_in_memory_for_the_next_one(spark: SparkSession, broker: Settings) -> None:
    def kept() -> int:
        return int(spark._jsparkSession.sharedState().cacheManager().numCachedEntries())

    write(broker, facts_before())
    spark.catalog.clearCache()
    evict(spark, broker)
    after_one = kept()
    assert after_one > 0
    for _ in range(2):
        evict(spark, broker)
    assert kept() == after_one
