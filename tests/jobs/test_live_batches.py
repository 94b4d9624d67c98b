"""A live batch has few records: no more tasks than cores read them, and so an append makes no more files."""

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from contract import tables
from jobs import archive
from jobs.sinks.lake import table_path
from runtime.processes import wait_until
from tests.jobs.test_facts import like

pytestmark = pytest.mark.spark


def test_a_live_append_of_the_archive_makes_no_more_files_than_there_are_cores(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = spark.sparkContext.defaultParallelism
    partitions = 3 * cores

    def one_like_a_partition(spark: SparkSession, settings: Settings, *topics: str) -> DataFrame:
        ticks = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", partitions)
        return (
            ticks.option("numPartitions", partitions)
            .load()
            .selectExpr(
                "'likes' AS topic",
                f"CAST(value % {partitions} AS int) AS partition",
                "value AS offset",
                "current_timestamp() AS timestamp",
                "CAST(NULL AS binary) AS key",
                f"CAST('{like().decode()}' AS binary) AS value",
            )
        )

    monkeypatch.setattr(archive, "read_topics", one_like_a_partition)
    settings = Settings(data_dir=tmp_path)
    queries = archive.start(spark, settings)
    wait_until(lambda: all(query.lastProgress for query in queries), 60, lambda: "a query did no batch")
    for query in queries:
        query.stop()
    events = spark.read.format("delta").load(table_path(settings, tables.EVENTS))
    batches, of_a_torn_one = divmod(events.count(), partitions)
    assert batches >= 1
    assert not of_a_torn_one
    assert len(events.inputFiles()) <= batches * cores
