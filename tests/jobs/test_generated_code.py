"""What Spark generates for the counts is compiled once, not once a batch: it has no number in it that changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.rounds import compiling
from jobs.transforms import counts
from jobs.transforms.counts import this_batch
from tests.jobs.histories import Fact, fact
from tests.jobs.streams import CutStream
from tests.jobs.test_counts import counted

pytestmark = pytest.mark.spark


def likes(batch: int) -> list[Fact]:
    return [fact("post_liked", f"e{batch}{user}", f"14:0{batch}", "ada") for user in "ab"]


class Compiled:
    """How many classes Spark had compiled before the first batch and after each, and what the rows of a batch say."""

    def __init__(self, spark: SparkSession) -> None:
        self._metrics = spark._jvm.org.apache.spark.metrics.source.CodegenMetrics
        self.classes = [self._so_far()]
        self.rows: list[set[Any]] = []

    def __call__(self, batch: DataFrame, _: int) -> None:
        self.rows.append({row[0] for row in batch.collect()})
        self.classes.append(self._so_far())

    def _so_far(self) -> int:
        return int(self._metrics.METRIC_COMPILATION_TIME().getCount())


def run(spark: SparkSession, folder: Path, frames: Callable[[DataFrame], DataFrame]) -> Compiled:
    stream, seen = CutStream(spark, folder), Compiled(spark)
    for batch in range(4):
        stream.add(likes(batch))
    with compiling(spark):
        stream.run(frames, seen)
    return seen


def test_a_later_batch_compiles_nothing(chained: SparkSession, tmp_path: Path) -> None:
    seen = run(chained, tmp_path, counted)
    before, _, second, third, fourth = seen.classes
    assert second == third == fourth > before


def test_plans_of_one_moment_have_different_numbers(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([7, 8])
    monkeypatch.setattr(counts.secrets, "randbelow", lambda _: next(drawn))
    numbers = [this_batch().alias(name) for name in ("one", "other")]
    row = spark.range(1).select(F.lit("l").alias("kind")).select(*numbers).first()
    assert row is not None
    assert row.other - row.one == 1


def test_a_batch_has_one_number_that_no_other_has(spark: SparkSession, tmp_path: Path) -> None:
    def numbers(records: DataFrame) -> DataFrame:
        kinds = records.withColumn("kind", F.left("topic", F.lit(1)))
        # Two places of one plan must agree, as acts and contributions must.
        batch = this_batch()
        return kinds.select("kind", batch.alias("one")).select(F.struct("one", batch.alias("other")))

    seen = run(spark, tmp_path, numbers)
    assert [len(rows) for rows in seen.rows] == [1, 1, 1, 1]
    assert all(row.one == row.other for rows in seen.rows for row in rows)
    assert len({row.one for rows in seen.rows for row in rows}) == 4
