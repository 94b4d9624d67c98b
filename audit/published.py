"""What is published of each post: in the result topic, in the table, and in the feed's answers."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from audit.recount import SAID
from contract.facts import FACT_TOPICS
from contract.results import SEEN_HEADER, TERM
from contract.spark import POST_WITH_COUNTS_JSON
from jobs.offsets import Offsets, rows
from jobs.transforms.dead_letters import TIME_FORMAT

CUT = "topic string, partition int, next bigint"
SEEN = "posts array<bigint>, likes array<bigint>, comments array<bigint>"
_ROW = ("said", "seen", "place")


def cut_frame(spark: SparkSession, offsets: Offsets) -> DataFrame:
    """Offsets as a small frame."""
    return spark.createDataFrame(rows(offsets), CUT)


def below(records: DataFrame, offsets: Offsets) -> DataFrame:
    """The records of these partitions before these offsets."""
    cut = F.broadcast(cut_frame(records.sparkSession, offsets))
    return records.join(cut, ["topic", "partition"]).where("offset < next").drop("next")


def topic_rows(records: DataFrame) -> DataFrame:
    """The records of the result topic that say something of a post: (post_id, said, seen, place, partition, offset).

    `said` is null for a tombstone, `seen` where there is no such header.
    """
    header = F.get(F.filter("headers", lambda one: one["key"] == SEEN_HEADER), F.lit(0))["value"]
    read = records.select(
        F.col("key").cast("string").alias("post_id"),
        F.col("value").isNull().alias("is_tombstone"),
        F.from_json(F.col("value").cast("string"), POST_WITH_COUNTS_JSON).alias("post"),
        F.from_json(header.cast("string"), SEEN).alias("seen"),
        F.struct("timestamp", "partition", "offset").alias("place"),
        "partition",
        "offset",
    )
    is_post = F.coalesce((F.col("post.post_id") == F.col("post_id")) & F.col("post.version").isNotNull(), F.lit(False))
    said = F.when(~F.col("is_tombstone"), F.struct(*(F.col(f"post.{name}") for name in SAID)))
    usable = read.where(F.col("post_id").isNotNull() & (F.col("is_tombstone") | is_post))
    return usable.select("post_id", said.alias("said"), "seen", "place", "partition", "offset")


def as_read(found: DataFrame, bounds: dict[str, Offsets]) -> DataFrame:
    """What a reader of the topic has of each post, (said, seen, place), at each of the named bounds.

    Of the rows after the last tombstone the highest version, the first of them where there are several
    (docs/contract.md). `again` is the last record of that version, the same one where there is no other.
    """
    below = {name: is_below(bound) for name, bound in bounds.items()}
    aggregates = [part for name, inside in below.items() for part in _ends(name, inside)]
    ended = found.groupBy("post_id").agg(*aggregates)
    return ended.select(
        "post_id",
        *(_reader(name).alias(name) for name in bounds),
        *(F.col(f"{name}_last").alias(f"{name}_again") for name in bounds),
    )


def is_below(bound: Offsets) -> Column:
    """Whether a row of the one topic is before these offsets."""
    pairs = [(part, offset) for parts in bound.values() for part, offset in parts.items()]
    if not pairs:  # nothing was written there yet
        return F.lit(False)
    ends = F.create_map(*(F.lit(value) for pair in pairs for value in pair))
    return F.coalesce(F.col("offset") < ends[F.col("partition")], F.lit(False))


def _ends(name: str, is_below: Column) -> list[Column]:
    row, living = F.struct(*_ROW), is_below & F.col("said").isNotNull()
    version, place = F.col("said.version"), F.col("place")
    return [
        F.max_by(F.when(is_below, row), F.when(is_below, place)).alias(f"{name}_end"),
        F.max_by(F.when(living, row), F.when(living, _earlier(row))).alias(f"{name}_first"),
        F.max_by(F.when(living, row), F.when(living, F.struct(version, place))).alias(f"{name}_last"),
        F.max(F.when(is_below & F.col("said").isNull(), place)).alias(f"{name}_gone"),
    ]


def _reader(name: str) -> Column:
    end, first, gone = F.col(f"{name}_end"), F.col(f"{name}_first"), F.col(f"{name}_gone")
    is_deleted = end["said"].isNull()
    is_after = gone.isNull() | (first["place"] > gone)
    return F.when(is_deleted | ~is_after, end).otherwise(first)


def judged_rows(found: DataFrame, facts: DataFrame, cut: DataFrame) -> DataFrame:
    """Of each post its newest row of which facts on their way are no excuse: (post_id, judged), none where none is.

    One lacks no fact up to those that it has `seen`: by its `version` a row says how many went in. And none below the
    cut; the newest row of all is judged also where it lacks such, since all were counted before it was read. `found`:
    rows of the topic; `facts`: (post_id, topic, partition, offset).
    """
    living = found.where("said IS NOT NULL AND seen IS NOT NULL").select("post_id", F.struct(*_ROW).alias("row"))
    asked = living.select("post_id", "row", F.explode(seen_map(F.col("row.seen"))).alias("topic", "at"))
    seen = F.struct(F.get("at", F.lit(0)).alias("partition"), F.get("at", F.lit(1)).alias("offset")).alias("up_to")
    places = asked.select("post_id", "topic", "row", seen, F.lit(0).alias("is_fact"), F.lit(0).alias("is_old"))
    place = F.struct(F.col("partition").cast("long").alias("partition"), "offset").alias("up_to")
    is_old = F.coalesce(F.col("offset") < F.col("next"), F.lit(False)).cast("int").alias("is_old")
    near = facts.join(F.broadcast(cut), ["topic", "partition"], "left")
    each = near.select("post_id", "topic", place, F.lit(1).alias("is_fact"), is_old)
    of_topic = Window.partitionBy("post_id", "topic")
    until = of_topic.orderBy("up_to", F.desc("is_fact")).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    counted = places.unionByName(each, allowMissingColumns=True).select(
        "post_id",
        "row",
        F.sum("is_fact").over(until).alias("there"),
        (F.sum("is_old").over(of_topic) - F.sum("is_old").over(until)).alias("missed"),
    )
    sums = F.sum("there").alias("there"), F.sum("missed").alias("missed")
    rows = counted.where("row IS NOT NULL").groupBy("post_id", "row").agg(*sums)
    order, row, is_missing = _earlier(F.col("row")), F.col("row"), F.col("missed") > 0
    is_whole = ~is_missing & (F.col("there") <= row["said"]["version"] % TERM)
    whole = F.max_by("row", F.when(is_whole, order))
    newest = F.max_by(F.when(is_missing, row), order)
    return rows.groupBy("post_id").agg(F.coalesce(newest, whole).alias("judged")).where("judged IS NOT NULL")


def _earlier(row: Column) -> Column:
    """Of rows the greatest is the one of the highest version, the first of them where there are several."""
    place = row["place"]
    return F.struct(row["said"]["version"], -place["timestamp"].cast("double"), -place["offset"])


def seen_map(seen: Column) -> Column:
    """`seen` as {topic: [partition, offset]}."""
    return F.create_map(*(part for topic in FACT_TOPICS for part in (F.lit(topic), seen[topic])))


def table_rows(posts: DataFrame) -> DataFrame:
    """The table's rows as (post_id, said)."""
    times = {name: F.date_format(name, TIME_FORMAT).alias(name) for name in ("created_at", "updated_at")}
    return posts.select("post_id", F.struct(*(times.get(name, F.col(name)) for name in SAID)).alias("said"))
