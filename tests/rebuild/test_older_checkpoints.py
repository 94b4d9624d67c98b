"""A checkpoint that was put back from a copy, older than its table: the job says so before it runs a batch."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from contract import tables
from jobs import archive, posts_with_counts, trending_posts
from jobs.checkpoints import PROJECTED
from tests.rebuild.earlier_checkpoint import facts_after, facts_before, write
from tests.rebuild.queries import run_once
from tests.rebuild.test_interrupted_batches import within_the_hour

TABLES: list[tuple[ModuleType, str, str]] = [
    (archive, tables.EVENTS, tables.EVENTS),
    (archive, PROJECTED, tables.POSTS_WITH_COUNTS),
    (trending_posts, trending_posts.NAME, tables.ENGAGEMENT_BY_MINUTE),
    (trending_posts, trending_posts.RISING, tables.FIRST_HOUR_ENGAGEMENT),
]


@pytest.mark.spark
@pytest.mark.kafka
def test_a_job_does_not_go_on_from_a_checkpoint_that_is_older_than_its_table(
    spark: SparkSession, broker: Settings
) -> None:
    checkpoints, older, newest = (broker.data_dir / name for name in ("checkpoints", "older", "newest"))
    for facts, copy in ((facts_before(), older), (facts_after(), newest)):
        write(broker, within_the_hour(facts))
        run_once(spark, broker, posts_with_counts, archive, trending_posts)
        shutil.copytree(checkpoints, copy)

    def put_back(copy: Path, query: str) -> None:
        shutil.rmtree(checkpoints / query)
        shutil.copytree(copy / query, checkpoints / query)

    for job, query, table in TABLES:
        put_back(older, query)
        with pytest.raises(SystemExit, match=f"checkpoints/{query} is older than its table .*lake/{table}: start both"):
            job.start(spark.newSession(), broker)
        put_back(newest, query)
