"""The archive itself: every offset once, and a dead letter for each record that is no fact."""

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from audit.offsets import Offsets

PLACE = ["topic", "partition", "offset"]
EXTENT = "topic string, partition int, records bigint, first bigint, last bigint, low bigint, high bigint"
LETTER = "reason string, topic string, partition int, offset bigint"


def extents(records: DataFrame) -> DataFrame:
    """Of each partition: how many records, which offsets, and a sum over their digests."""
    return records.groupBy("topic", "partition").agg(
        F.count("*").alias("records"),
        F.min("offset").alias("first"),
        F.max("offset").alias("last"),
        *_sums("offset"),
    )


def _sums(offset: str) -> list[Column]:
    digest = F.xxhash64(offset)
    low, high = digest.bitwiseAND(0xFFFFFFFF), F.shiftrightunsigned(digest, 32)
    return [F.sum(low).alias("low"), F.sum(high).alias("high")]


def damage(extent: Row, first_kept: int, following: int, expected: Row) -> str | None:
    """What is wrong with a partition of the archive; None where it is whole.

    `first_kept`: Kafka's first offset. `following`: the offset that the archive has reached.
    """
    where = f"{extent.topic}, partition {extent.partition}"
    whole = extent.last - extent.first + 1
    if extent.first > first_kept:
        return f"{where}: the archive begins at {extent.first}, Kafka at {first_kept}"
    if extent.last + 1 < following:
        return f"{where}: the archive ends before {extent.last + 1}, its job is at {following}"
    if extent.records != whole:
        return f"{where}: the archive has {extent.records} records of the {whole} offsets"
    if (extent.low, extent.high) != (expected.low, expected.high):
        return f"{where}: the archive has some record twice, and misses another"
    return None


def damages(records: DataFrame, first: Offsets, reached: Offsets, erased: DataFrame) -> tuple[int, list[str]]:
    """How many records there are, and what is wrong with the archive: a sentence a partition.

    `erased`: (topic, partition, offset) of records that were taken out on purpose.
    """
    spark = records.sparkSession
    gaps = erased.select(PLACE).distinct().join(records.select(PLACE), PLACE, "left_anti")
    found = extents(records.select(PLACE).unionByName(gaps)).collect()  # a row a partition
    ends = spark.createDataFrame(found, EXTENT) if found else spark.createDataFrame([], EXTENT)
    every = spark.range(max((row.last for row in found), default=-1) + 1)
    whole = (
        every.join(F.broadcast(ends), F.col("id").between(F.col("first"), F.col("last")))
        .groupBy("topic", "partition")
        .agg(*_sums("id"))
    )
    expected = {(row.topic, row.partition): row for row in whole.collect()}
    extent_of = {(row.topic, row.partition): row for row in found}
    said = []
    for topic, parts in reached.items():
        for part, following in parts.items():
            kept, extent = first.get(topic, {}).get(part, 0), extent_of.get((topic, part))
            if extent is not None:
                said.append(damage(extent, kept, following, expected[topic, part]))
            elif following > kept:
                said.append(f"{topic}, partition {part}: the archive has none of {following - kept} records")
    return sum(row.records for row in found) - gaps.count(), [sentence for sentence in said if sentence]


def letters(records: DataFrame) -> DataFrame:
    """Dead letters as they are in their topic: (reason, topic, partition, offset, times)."""
    letter = F.from_json(F.col("value").cast("string"), LETTER)
    read = records.select(letter.alias("letter")).select("letter.*")
    return read.groupBy("topic", "partition", "offset").agg(F.count("*").alias("times"), F.max("reason").alias("said"))


def letter_drift(dead: DataFrame, written: DataFrame, reached: DataFrame, erased: DataFrame) -> DataFrame:
    """Records that are no facts and have no letter, two, or one with another reason; letters of what is a fact.

    `dead`: (topic, partition, offset, reason). `reached`: (topic, partition, next) of the archive. `erased`:
    (topic, partition, offset) of what was taken out of the archive; its letters may still be there.
    """
    there = written.join(erased.select(PLACE), PLACE, "left_anti")
    both = dead.join(there, PLACE, "full").join(F.broadcast(reached), ["topic", "partition"], "left")
    is_done = F.coalesce(F.col("offset") < F.col("next"), F.lit(True))
    agrees = F.col("said").eqNullSafe(F.col("reason")) & (F.col("times") == 1)
    return both.where(is_done & ~F.coalesce(agrees, F.lit(False))).select(*PLACE, "reason", "said", "times")
