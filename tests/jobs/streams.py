"""Real streams cut where a test wants it: each cut is one micro-batch, run from the checkpoint by a new query."""

from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from tests.jobs.histories import RECORD, Fact, records


class CutStream:
    """Micro-batches as folders of files; `run` starts a query on the same checkpoint, and so restarts it."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark, self._source, self._checkpoint = spark, folder / "source", folder / "checkpoint"
        self._source.mkdir(parents=True)
        self._written = self._batches = 0

    def add(self, history: list[Fact]) -> None:
        """One more micro-batch."""
        batch = records(self._spark, history, self._written).coalesce(1)
        batch.write.parquet(str(self._source / f"batch-{self._batches:05}"))
        self._written += len(history)
        self._batches += 1

    def run(self, frames: Callable[[DataFrame], DataFrame], sink: Callable[[DataFrame, int], None]) -> StreamingQuery:
        """Everything that was added and not yet read, a micro-batch each; then the query ends."""
        source = (
            self._spark.readStream.schema(RECORD)
            .option("maxFilesPerTrigger", 1)
            .option("recursiveFileLookup", "true")
            .parquet(str(self._source))
        )
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
