"""The archive itself: every offset once, and a dead letter for each record that is no fact."""

from datetime import datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.offsets import Offsets

PLACE = ["topic", "partition", "offset"]
LETTER = "reason string, topic string, partition int, offset bigint"


def extents(records: DataFrame) -> DataFrame:
    """Of each partition: how many records, how many of them are `there`, which offsets, and how many different ones.

    Different offsets are counted as bits, sixty-four a row: that takes little memory, and one pass.
    """
    bit = F.expr("shiftleft(1L, int(offset % 64))")
    in_rows = records.groupBy("topic", "partition", F.expr("offset div 64").alias("row")).agg(
        F.count("*").alias("records"),
        F.sum("there").alias("there"),
        F.min("offset").alias("first"),
        F.max("offset").alias("last"),
        F.bit_or(bit).alias("bits"),
    )
    return in_rows.groupBy("topic", "partition").agg(
        F.sum("records").alias("records"),
        F.sum("there").alias("there"),
        F.min("first").alias("first"),
        F.max("last").alias("last"),
        F.sum(F.bit_count("bits")).alias("different"),
    )


def damage(extent: Row, first_kept: int, following: int) -> str | None:
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
    if extent.different != whole:
        return f"{where}: the archive has some record twice, and misses another"
    return None


def damages(records: DataFrame, first: Offsets, reached: Offsets, erased: DataFrame) -> tuple[int, list[str]]:
    """How many records there are, and what is wrong with the archive: a sentence a partition.

    `erased`: (topic, partition, offset) of records that were taken out on purpose.
    """
    gaps = erased.select(PLACE).distinct().join(records.select(PLACE), PLACE, "left_anti")
    together = records.select(*PLACE, F.lit(1).alias("there")).unionByName(gaps.select("*", F.lit(0).alias("there")))
    found = together.transform(extents).collect()  # a row a partition
    extent_of = {(row.topic, row.partition): row for row in found}
    said = []
    for topic, parts in reached.items():
        for part, following in parts.items():
            kept, extent = first.get(topic, {}).get(part, 0), extent_of.get((topic, part))
            if extent is not None:
                said.append(damage(extent, kept, following))
            elif following > kept:
                said.append(f"{topic}, partition {part}: the archive has none of {following - kept} records")
    return sum(row.there for row in found), [sentence for sentence in said if sentence]


def letters(records: DataFrame) -> DataFrame:
    """What the topic of dead letters says of each record: (topic, partition, offset, times, said).

    `times`: how many different letters there are, `said`: their reason. The same letter twice is one: it is written at
    least once.
    """
    letter = F.from_json(F.col("value").cast("string"), LETTER)
    bytes_of = F.xxhash64("key", "value").alias("bytes")  # a key may be null
    read = records.select(letter.alias("letter"), bytes_of).select("letter.*", "bytes")
    return read.groupBy(PLACE).agg(F.count_distinct("bytes").alias("times"), F.max("reason").alias("said"))


def letter_drift(
    dead: DataFrame, written: DataFrame, reached: DataFrame, erased: DataFrame, kept_since: datetime
) -> DataFrame:
    """Records that are no facts and have no letter, two that differ, or one with another reason; letters of else.

    `dead`: (topic, partition, offset, arrived_at, reason); those of before `kept_since` may have no letter any more
    in the topic. `written`: what `letters` makes of it. `reached`: (topic, partition, next) of the archive. `erased`:
    (topic, partition, offset) of what was taken out of the archive; topic and letters may still have it.
    """
    known, there = (rows.join(erased.select(PLACE), PLACE, "left_anti") for rows in (dead, written))
    both = known.join(there, PLACE, "full").join(F.broadcast(reached), ["topic", "partition"], "left")
    is_done = F.coalesce(F.col("offset") < F.col("next"), F.lit(True))
    agrees = (F.col("said") == F.col("reason")) & (F.col("times") == 1)
    may_be_gone = F.col("said").isNull() & (F.col("arrived_at") < F.lit(kept_since))
    is_right = agrees | F.coalesce(may_be_gone, F.lit(False))
    return both.where(is_done & ~F.coalesce(is_right, F.lit(False))).select(*PLACE, "reason", "said", "times")
