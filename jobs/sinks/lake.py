"""Delta tables: made once, appended to exactly once, kept small by their own writer."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from delta.tables import DeltaTable
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from conf.settings import Settings
from conf.store import Place, checkpoints, lake
from jobs.checkpoints import begun_batch
from jobs.transforms.panes import summed

COMPACT_EVERY = 60
"""Batches between two compactions of a table."""
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",  # readers without Spark
    "delta.checkpointInterval": str(COMPACT_EVERY),
}
READ_BY_OTHERS, OURS = "1 hours", "15 minutes"
"""How long versions of a table can be read: each of the last is a file that Delta looks at whenever it commits."""
PERSONAL = {"user_id", "image_url", "caption", "event_id", "comment_id"}
_MEASURED = {"string", "integer", "long", "timestamp", "date"}


def table_path(settings: Settings, name: str) -> str:
    """Folder of a table, as Spark names it."""
    return str(lake(settings) / name)


def ensure_table(
    spark: SparkSession,
    path: str,
    schema: StructType,
    partitioned_by: Sequence[str] = (),
    versions: str = READ_BY_OTHERS,
    replaced: str = "",
) -> str:
    """Make the table where there is none; the path, for chaining.

    `versions`: how long each can be read. `replaced`: how long their files stay, where that is longer.
    """
    builder = DeltaTable.createIfNotExists(spark).location(path).addColumns(schema)
    # The log keeps the smallest and greatest value of a column: none of what people are called or say.
    unmeasured = {*PERSONAL, *partitioned_by}
    measured = [
        field.name for field in schema if field.dataType.typeName() in _MEASURED and field.name not in unmeasured
    ]
    kept = {
        "delta.logRetentionDuration": f"interval {versions}",
        "delta.deletedFileRetentionDuration": f"interval {replaced or versions}",
    }
    properties = {**_PROPERTIES, **kept, "delta.dataSkippingStatsColumns": ",".join(measured)}
    for name, value in properties.items():
        builder = builder.property(name, value)
    if partitioned_by:
        builder = builder.partitionedBy(*partitioned_by)
    builder.execute()
    return path


def append(rows: DataFrame, path: str) -> None:
    """Append rows that may be there twice."""
    rows.write.format("delta").mode("append").save(path)


def append_once(rows: DataFrame, path: str, writer: str, batch_id: int) -> None:
    """Append a batch; a batch that is run again after a fault appends nothing.

    `writer` names the query: a new checkpoint must come with a new name, else its batches are skipped.
    """
    (rows.write.format("delta").mode("append").option("txnAppId", writer).option("txnVersion", batch_id).save(path))


def refuse_older_checkpoint(spark: SparkSession, checkpoint: Place, path: str, writer: str) -> None:
    """SystemExit with one sentence where the table has a batch of this query that its checkpoint has not begun.

    It was put back from a copy. Its next batches would be taken for those that the table has under the same numbers.
    """
    newest = _delta_log(spark, path).unsafeVolatileSnapshot().transactions().get(f"{writer}-{_query_of(checkpoint)}")
    if newest.isDefined():
        _refuse_older(checkpoint, path, newest.get())


def _refuse_older(checkpoint: Place, path: str, newest: int) -> None:
    if newest > begun_batch(checkpoint):
        raise SystemExit(
            f"the checkpoint {checkpoint} is older than its table {path}: start both over (docs/operations.md)"
        )


def _query_of(checkpoint: Place) -> str:
    """The id that its query was born with; "new" where there is none, or it is damaged, as Spark will say."""
    try:
        return str(json.loads((checkpoint / "metadata").read_text())["id"])
    except (FileNotFoundError, ValueError):
        return "new"


class Appends:
    """Appends each batch of one query exactly once, as `append_once` does, for less.

    Only the first batch after a start can be in the table already: the query ended between its write and its commit. So
    that one alone is looked for, by the name that each commit carries. For `append_once` Delta reads its log anew at
    each batch, which takes longer than appending.

    SystemExit where the checkpoint of that query is older than the table: see `refuse_older_checkpoint`.
    """

    def __init__(self, settings: Settings, name: str, query: str) -> None:
        self._settings, self._name = settings, name
        self.may_be_a_repetition = True
        """Whether the next batch is the first."""
        checkpoint = checkpoints(settings) / query
        is_own = f"-{_query_of(checkpoint)}"
        newest = next((batch_id for writer, batch_id in self._batches() if writer.endswith(is_own)), -1)
        _refuse_older(checkpoint, table_path(settings, name), newest)

    def append(self, rows: DataFrame, writer: str, batch_id: int) -> None:
        """Append the batch, unless it is the first and there. `writer` ends in the id of the query."""
        if not (self.may_be_a_repetition and self._newest_batch(writer) == batch_id):
            named = rows.write.format("delta").mode("append").option("userMetadata", f"{writer} {batch_id}")
            named.save(table_path(self._settings, self._name))
        self.may_be_a_repetition = False

    def _newest_batch(self, writer: str) -> int | None:
        """The last one of the writer that the table has; None where no commit that its log still has is of it."""
        return next((batch_id for by, batch_id in self._batches() if by == writer), None)

    def _batches(self) -> Iterator[tuple[str, int]]:
        """Writer and number of each batch that the log still has, the last one first."""
        log = lake(self._settings) / self._name / "_delta_log"
        notes = (_note(commit.read_text()) for commit in sorted(log.glob("[0-9]*.json"), reverse=True))
        return ((by, int(batch_id)) for by, _, batch_id in notes if batch_id.isdecimal())


def _note(commit: str) -> tuple[str, str, str]:
    """Writer, a space, and batch, of a file of a table's log; three times nothing where another one wrote it."""
    said = (json.loads(line).get("commitInfo", {}) for line in commit.splitlines())
    note = next((one["userMetadata"] for one in said if "userMetadata" in one), "")
    return note.rpartition(" ")


def compact(spark: SparkSession, path: str, where: str | None = None, looked_up: str = "") -> None:
    """Join small files, and remove those, and entries of the log, that no version needs which may still be read.

    Between batches, by the only writer.

    `looked_up`: a column of which a few values are asked for at a time. A Bloom filter then tells which files have none
    of them: https://parquet.apache.org/docs/file-format/bloomfilter/
    """
    session = spark
    if looked_up:
        session = spark.newSession()  # where these two are set for this alone
        session.conf.set(f"parquet.bloom.filter.enabled#{looked_up}", "true")
        session.conf.set("parquet.bloom.filter.adaptive.enabled", "true")
    table = DeltaTable.forPath(session, path)
    optimize = table.optimize()
    (optimize.where(where) if where else optimize).executeCompaction()
    table.vacuum()
    trim_log(session, path)


def trim_log(spark: SparkSession, path: str) -> None:
    """Remove entries of the log that are older than is kept, to the minute, by Delta's own means.

    By itself Delta does so by whole days. A query that commits every five seconds has some 70,000 files there after
    one, and Delta lists all of them at each commit: after eight thousand commits one took 1.25 instead of 0.19 s.
    """
    jvm: Any = SparkContext._jvm
    delta = jvm.org.apache.spark.sql.delta
    log, nothing = _delta_log(spark, path), jvm.scala.Option.empty()
    minute = delta.TruncationGranularity.MINUTE()
    log.cleanUpExpiredLogs(log.unsafeVolatileSnapshot(), nothing, nothing, minute)


def _delta_log(spark: SparkSession, path: str) -> Any:
    jvm: Any = SparkContext._jvm
    return jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)


def fold(spark: SparkSession, path: str, keys: Sequence[str], where: str) -> None:
    """Rows of signed changes with the same keys become one, in the part of the table that `where` names."""
    changes = spark.read.format("delta").load(path).where(where)
    replace(changes.transform(summed, *keys).coalesce(1), path, where)


def replace(rows: DataFrame, path: str, where: str) -> None:
    """Rows take the place of all that `where` names; each must be one of those."""
    rows.write.format("delta").mode("overwrite").option("replaceWhere", where).save(path)


def drop(spark: SparkSession, path: str, where: str) -> None:
    """Remove the rows that nothing needs any more."""
    DeltaTable.forPath(spark, path).delete(where)
