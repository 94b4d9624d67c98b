"""Real streams cut where a test wants it: each cut is one micro-batch, run from the checkpoint by a new query."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from runtime.rescale import store
from tests.jobs.histories import RECORD, Fact, rows_of

SCHEMA = pa.schema(
    {
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "key": pa.binary(),
        "value": pa.binary(),
    }
)


class CutStream:
    """Micro-batches as files; `run` starts a query on the same checkpoint, and so restarts it."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark, self._source, self._checkpoint = spark, folder / "source", folder / "checkpoint"
        self._source.mkdir(parents=True)
        self._written = self._batches = 0

    def add(self, history: list[Fact]) -> None:
        """One more micro-batch."""
        columns = zip(*rows_of(history, self._written), strict=True) if history else [[]] * len(SCHEMA)
        file = self._source / f"batch-{self._batches:05}.parquet"
        parquet.write_table(pa.table(list(map(pa.array, columns, SCHEMA.types)), schema=SCHEMA), file)
        os.utime(file, 2 * (1_700_000_000 + self._batches,))  # a stream of files goes by their times
        self._written += len(history)
        self._batches += 1

    def run(self, frames: Callable[[DataFrame], DataFrame], sink: Callable[[DataFrame, int], None]) -> StreamingQuery:
        """Everything that was added and not yet read, a micro-batch each; then the query ends."""
        source = self._spark.readStream.schema(RECORD).option("maxFilesPerTrigger", 1).parquet(str(self._source))
        query = (
            frames(source)
            .writeStream.outputMode("update")
            .foreachBatch(sink)
            .option("checkpointLocation", str(self._checkpoint))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return query


def state_after(
    spark: SparkSession, folder: Path, frames: Callable[[DataFrame], DataFrame], batches: list[list[Fact]]
) -> list[int]:
    """How long each row is that aggregates have in state in the end, as text in which every number is a digit."""
    stream = CutStream(spark, folder)
    for batch in batches:
        stream.add(batch)
    progress = stream.run(frames, lambda batch, _: batch.collect()).lastProgress
    assert progress is not None
    stores = [store(spark, folder / "checkpoint", at) for at in range(len(progress.stateOperators))]
    rows = [row[0] for one in stores for row in one.selectExpr("to_json(struct(key, value))").collect()]
    return sorted(len(re.sub("[0-9]+", "0", row)) for row in rows)
