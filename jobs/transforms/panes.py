"""One-minute panes of engagement: signed changes that add up to what stands, minute by minute.

`window("1 hour", "1 minute")` would copy every fact sixty times; a pane holds it once a judging window.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.counts import PAIR, acts, standing, stands

LATENESS = "70 minutes"
"""Watermark delay: the hour that a ranking looks at, and twice the five minutes that a fact may be ahead."""
BEHIND_WATERMARK = "behind_watermark: "
"""How the names of observations begin that count rows which were left out."""
JUDGED = ("125 minutes", "1 hour")
"""Facts that judge the rankings of hour H are dated from H - 1 h to H + 1 h and, ahead of the clock, 5 minutes."""


def dated_acts(facts: DataFrame) -> DataFrame:
    """Acts with `occurred`, the event time as a timestamp."""
    return facts.transform(acts).withColumn("occurred", F.col("occurred_at").cast("timestamp"))


def watermarked(rows: DataFrame, time: str, evicted: datetime | None = None) -> DataFrame:
    """Rows with a watermark, by which Spark evicts state and leaves out what comes later; None is what batches want.

    To evict, Spark looks at every row of state in every batch. With `evicted`, the watermark up to which that was done,
    it does not: state has no watermark then. docs/decisions/eviction.md
    """
    marked = rows.withWatermark(time, LATENESS)
    return marked if evicted is None else marked.withMetadata(time, {})


def _after(rows: DataFrame, time: str, evicted: datetime | None, what: str) -> DataFrame:
    """Without what belongs to evicted state, where it would count anew; how many those are is observed."""
    if evicted is None:
        return rows
    is_late = F.col(time) <= F.lit(evicted)
    return rows.observe(BEHIND_WATERMARK + what, F.count_if(is_late).alias("rows")).where(~is_late)


def minute_panes(dated: DataFrame, evicted: datetime | None = None) -> DataFrame:
    """Dated likes and comments to changes: (judged_from, post_id, minute, likes, comments).

    A change takes a pair out of the minute where it counted before and puts it where it counts now. Each fact is in
    the judging windows of two hours (three, in the first five minutes of an hour): sum one `judged_from` only.
    `evicted`: see `watermarked`.
    """
    judged = dated.transform(watermarked, "occurred", evicted).withColumn("window", F.window("occurred", *JUDGED))
    return (
        judged.transform(_after, "window.end", evicted, "engagement of an hour")
        .transform(standing, "window")
        .transform(moves, "window", of={"minute": F.when(stands(), F.date_trunc("minute", _counted_at()))})
        .select(F.col("window.start").alias("judged_from"), "post_id", F.inline(_out_and_in()))
        .where(F.col("minute").isNotNull())
    )


def moves(standing: DataFrame, *keys: str, of: Mapping[str, Column]) -> DataFrame:
    """Of each pair the values `of` a standing row, as they are `now` and as they were `before`, when last emitted.

    An aggregate over the updates of an aggregate: `records` orders them, the last two are kept. State has two of
    these values a pair, so name only what is needed.
    """
    value = F.struct("records", *(column.alias(name) for name, column in of.items()))
    last_two = F.max_by(value, F.col("records"), 2)
    return (
        standing.groupBy(*PAIR, *keys)
        .agg(last_two.alias("last_two"))
        .select(
            *keys,
            *PAIR,
            F.element_at("last_two", 1).alias("now"),
            F.try_element_at("last_two", F.lit(2)).alias("before"),
        )
    )


def _out_and_in() -> Column:
    return F.array(_change("before", -1), _change("now", +1))


def _change(state: str, sign: int) -> Column:
    is_like = F.col("kind") == "l"
    return F.struct(
        F.col(f"{state}.minute").alias("minute"),
        F.when(is_like, F.lit(sign)).otherwise(F.lit(0)).cast("long").alias("likes"),
        F.when(is_like, F.lit(0)).otherwise(F.lit(sign)).cast("long").alias("comments"),
    )


def _counted_at() -> Column:
    """When what stands is dated: a like by its latest fact, a comment by its addition."""
    is_like = F.col("kind") == "l"
    return F.when(is_like, F.col("latest.occurred_at")).otherwise(F.col("creation.occurred_at")).cast("timestamp")


def first_hour_engagement(created: DataFrame, dated: DataFrame, evicted: datetime | None = None) -> DataFrame:
    """Creations (post_id, born) and dated acts to changes within a post's first hour: (born, post_id, likes, comments).

    A watermarked stream-stream interval join; both sides' state leaves with the watermark. Acts up to five minutes
    after the hour take part, since a like may be taken back then, ahead of the clock; they do not count themselves.
    `evicted`: see `watermarked`.
    """
    young = created.transform(_after, "born", evicted, "posts")
    posts = young.transform(watermarked, "born", evicted).withColumnRenamed("post_id", "born_id")
    in_first_hour = F.expr("post_id = born_id AND occurred >= born AND occurred < born + INTERVAL 65 MINUTES")
    recent = dated.transform(_after, "occurred", evicted, "engagement")
    pairs = recent.transform(watermarked, "occurred", evicted).join(posts, in_first_hour)
    # Also after the join, which may hold a post for longer than the aggregates.
    judged = pairs.transform(_after, "born", evicted, "first hours").drop("occurred", "born_id")
    is_like = F.col("kind") == "l"
    is_early = _counted_at() < F.col("born") + F.expr("INTERVAL 1 HOUR")
    change = F.col("now.counts").isNotNull().cast("long") - F.col("before.counts").isNotNull().cast("long")
    return (
        judged.transform(standing, "born")
        .transform(moves, "born", of={"counts": F.when(is_early, stands())})
        .select("born", "post_id", is_like.alias("is_like"), change.alias("change"))
        .where(F.col("change") != 0)
        .select(
            "born",
            "post_id",
            F.when(F.col("is_like"), F.col("change")).otherwise(0).alias("likes"),
            F.when(F.col("is_like"), 0).otherwise(F.col("change")).alias("comments"),
        )
    )


def summed(changes: DataFrame, *keys: str) -> DataFrame:
    """Changes with the same keys as one; those that cancel out are gone."""
    total = changes.groupBy(*keys).agg(F.sum("likes").alias("likes"), F.sum("comments").alias("comments"))
    return total.where((F.col("likes") != 0) | (F.col("comments") != 0))
