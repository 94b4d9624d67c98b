"""A batch that was written, and whose commit was not, is done again: nothing twice, and the job goes on.

State has the shapes that the code says. A checkpoint that was put back from a copy, older than its table, is refused.
"""

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from audit.job import audit
from conf.settings import Settings
from contract import tables
from contract.facts import format_time, parse_time
from jobs import archive, posts_with_counts, trending_posts
from jobs.checkpoints import PROJECTED, STATES, done_batch, state_digest
from jobs.harness import now
from tests import reference
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import run_once
from tests.stack.hostile import in_topic
from tests.stack.test_exact import archived

JOBS = (posts_with_counts, trending_posts, archive)
TABLES: list[tuple[ModuleType, str, str]] = [
    (archive, tables.EVENTS, tables.EVENTS),
    (archive, PROJECTED, tables.POSTS_WITH_COUNTS),
    (trending_posts, trending_posts.NAME, tables.ENGAGEMENT_BY_MINUTE),
    (trending_posts, trending_posts.RISING, tables.FIRST_HOUR_ENGAGEMENT),
]


def forget_the_last_commit(checkpoint: Path) -> None:
    """As a kill leaves it that comes after the write and before the commit: no later batch is planned."""
    last = done_batch(checkpoint)
    for folder, first in (("commits", last), ("offsets", last + 1)):
        for file in [*(checkpoint / folder).glob("[0-9]*"), *(checkpoint / folder).glob(".[0-9]*.crc")]:
            if int(file.name.removeprefix(".").removesuffix(".crc")) >= first:
                file.unlink()


def within_the_hour(facts: list[dict[str, str]]) -> list[dict[str, str]]:
    """Dated within the past hour instead of that of the fixture, so that the rankings have some."""
    later = now() - timedelta(hours=1) - datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
    return [{**fact, "occurred_at": format_time(parse_time(fact["occurred_at"]) + later)} for fact in facts]


@pytest.mark.spark
@pytest.mark.kafka
def test_every_query_writes_the_shapes_it_says_goes_on_after_a_kill_before_its_commit_and_refuses_to_go_back(
    spark: SparkSession, broker: Settings
) -> None:
    checkpoints, older, newest = (broker.data_dir / name for name in ("checkpoints", "older", "newest"))
    facts = within_the_hour(facts_before() + facts_after())
    first, then = facts[: len(facts_before())], facts[len(facts_before()) :]
    write(broker, first)
    run_once(spark, broker, *JOBS)
    written = {query: state_digest(broker.checkpoint_dir / query) for queries in STATES.values() for query in queries}
    assert written == {query: state for queries in STATES.values() for query, state in queries.items()}
    for queries in STATES.values():
        for query in queries:
            forget_the_last_commit(broker.checkpoint_dir / query)
    shutil.copytree(checkpoints, older)  # of a batch that had begun already it would be no older
    write(broker, then)
    run_once(spark, broker, *JOBS)
    assert in_topic(broker, "") == reference.posts_with_counts(facts)
    places = archived(broker)
    assert len(places) == places.total() == len(facts)
    audited = audit(spark.newSession(), broker, False)
    assert {"trending", "rising"} <= set(audited.compared)
    assert (audited.archive, audited.as_json()["drift"]) == ([], 0), audited.as_json()
    shutil.copytree(checkpoints, newest)
    for job, query, table in TABLES:
        put_back(older / query, checkpoints)
        with pytest.raises(SystemExit, match=f"checkpoints/{query} is older than its table .*lake/{table}: start both"):
            job.start(spark.newSession(), broker)
        put_back(newest / query, checkpoints)


def put_back(copy: Path, checkpoints: Path) -> None:
    shutil.rmtree(checkpoints / copy.name)
    shutil.copytree(copy, checkpoints / copy.name)
