"""One-minute panes of engagement: signed changes that add up to what stands, minute by minute.

`window("1 hour", "1 minute")` would copy every fact sixty times; a pane holds it once a judging window.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.counts import PAIR, acts, extremes, is_of, mark, rulings, stands, this_batch, turned_on

LATENESS = timedelta(minutes=70)
"""Watermark delay: the hour that a ranking looks at, and twice the five minutes that a fact may be ahead."""
BEHIND_WATERMARK = "behind_watermark: "
"""How the names of observations begin that count rows which were left out."""
JUDGED = ("125 minutes", "1 hour")
"""Facts that judge the rankings of hour H are dated from H - 1 h to H + 1 h and, ahead of the clock, 5 minutes."""
BUNDLE = 8
"""Acts of a post in one row of the join: docs/decisions/bundles.md."""
ACT = ("kind", "member", "occurred_at", "event_id", "turns_on")
PANE, ENGAGEMENT = ("judged_from", "post_id", "minute"), ("likes", "comments")


def dated_acts(facts: DataFrame) -> DataFrame:
    """Likes and comments with `occurred_at` as a timestamp, the event time, which sorts as its text does."""
    return facts.transform(acts).withColumn("occurred_at", F.col("occurred_at").cast("timestamp"))


def watermarked(rows: DataFrame, time: str, evicted: datetime | None = None) -> DataFrame:
    """Rows with a watermark, by which Spark evicts state and leaves out what comes later; None is what batches want.

    To evict, Spark looks at every row of state in every batch. With `evicted`, the watermark up to which that was done,
    it does not: state has no watermark then. docs/decisions/eviction.md
    """
    marked = rows.withWatermark(time, f"{LATENESS.total_seconds():.0f} seconds")
    return marked if evicted is None else marked.withMetadata(time, {})


def _after(rows: DataFrame, time: str, evicted: datetime | None, what: str) -> DataFrame:
    """Without rows whose state was evicted, since they would count again; how many those are is observed."""
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
    judged = dated.transform(watermarked, "occurred_at", evicted).withColumn("window", F.window("occurred_at", *JUDGED))
    return (
        judged.transform(_after, "window.end", evicted, "engagement of an hour")
        .transform(moves, "window", counts_in=lambda moment: F.date_trunc("minute", moment))
        .select(
            F.col("window.start").alias("judged_from"),
            "post_id",
            F.col("place").alias("minute"),
            F.when(F.col("kind") == "l", F.col("change")).otherwise(0).alias("likes"),
            F.when(F.col("kind") == "l", 0).otherwise(F.col("change")).alias("comments"),
        )
    )


def moves(dated: DataFrame, *keys: str, counts_in: Callable[[Column], Column]) -> DataFrame:
    """Dated acts to signed changes of what stands: (`keys`, post_id, kind, place, change).

    `counts_in`: the place in which something that stands counts, by the moment that it is dated; null for none. A
    change takes a pair out of the place where it counted, and puts it where it counts now.

    An aggregate over the updates of an aggregate. Pairs with their only record in this batch are summed by post; of
    each other one the last two updates are kept: docs/decisions/two-updates.md.
    """
    batch = this_batch()
    now = counts_in(F.when(stands(), _counted_at()))
    # Of a pair that had one record before: see `contributions`.
    records = F.col("least"), F.col("greatest")
    was = F.coalesce(
        *(F.when(~is_of(batch, one["mark"]) & turned_on(one["mark"]), counts_in(one["occurred_at"])) for one in records)
    )
    is_lone = F.col("records") == 1
    updates = (
        dated.withColumn("mark", mark(batch, F.col("turns_on")))  # a join has held some since they came
        .groupBy(*PAIR, *keys)
        .agg(*rulings(F.col("occurred_at")), *extremes(F.struct("mark", "occurred_at")))
        .select(
            *keys,
            "post_id",
            "kind",
            F.when(~is_lone, F.col("member")).alias("member"),
            F.when(is_lone, batch).alias("batch"),
            F.when(is_lone, now).alias("place"),
            F.when(~is_lone, F.struct("records", now.alias("now"), was.alias("was"))).alias("update"),
        )
        .where(F.col("update").isNotNull() | F.col("place").isNotNull())
    )
    last_two = F.max_by("update", F.col("update.records"), 2)
    kept = updates.groupBy("post_id", "kind", "member", *keys, "batch", "place").agg(
        F.count("*").alias("lone"), last_two.alias("last_two")
    )
    after, before = F.element_at("last_two", 1), F.try_element_at("last_two", F.lit(2))
    did_count_in = F.when(before.isNotNull(), before["now"]).otherwise(after["was"])
    out_and_in = F.array(
        F.struct(did_count_in.alias("place"), F.lit(-1).cast("long").alias("change")),
        F.struct(after["now"].alias("place"), F.lit(1).cast("long").alias("change")),
    )
    alone = F.array(F.struct("place", F.col("lone").alias("change")))
    changes = F.when(F.col("member").isNull(), alone).otherwise(out_and_in)
    return kept.select(*keys, "post_id", "kind", F.inline(changes)).where(F.col("place").isNotNull())


def _counted_at() -> Column:
    """When what stands is dated: a like by its latest fact, a comment by its addition."""
    is_like = F.col("kind") == "l"
    return F.when(is_like, F.col("latest.occurred_at")).otherwise(F.col("creation"))


def first_hour_engagement(created: DataFrame, dated: DataFrame, evicted: datetime | None = None) -> DataFrame:
    """Creations and dated acts to changes within a post's first hour: (born, post_id, likes, comments).

    A watermarked stream-stream interval join; both sides' state leaves with the watermark. Acts up to six minutes after
    the hour take part, since a like may be taken back then, ahead of the clock; they do not count themselves.
    `created`: see `births`; `evicted`: see `watermarked`.
    """
    posts = created.transform(births, evicted).withColumnRenamed("post_id", "born_id")
    recent = dated.transform(_after, "occurred_at", evicted, "engagement")
    bundles = recent.transform(watermarked, "occurred_at", evicted).transform(bundled)
    is_near = F.expr("post_id = born_id AND until >= born AND until < born + INTERVAL 126 MINUTES")
    acts_and_births = bundles.join(posts, is_near).select("post_id", "born", F.inline("acts"))
    pairs = acts_and_births.where("occurred_at >= born AND occurred_at < born + INTERVAL 66 MINUTES")
    # Also after the join, which may hold a post for longer than the aggregates.
    judged = pairs.transform(_after, "born", evicted, "first hours")
    hour = F.col("born") + F.expr("INTERVAL 1 HOUR")
    return judged.transform(moves, "born", counts_in=lambda moment: F.when(moment < hour, F.lit(True))).select(
        "born",
        "post_id",
        F.when(F.col("kind") == "l", F.col("change")).otherwise(0).alias("likes"),
        F.when(F.col("kind") == "l", 0).otherwise(F.col("change")).alias("comments"),
    )


def births(created: DataFrame, evicted: datetime | None) -> DataFrame:
    """Creations (post_id, born) to those that may be when a post was born: (post_id, born), each once.

    Of those dated in one full hour that is the earliest, whoever made it: a post told again and again, by ever so many
    users, is joined once a batch.
    """
    young = created.transform(_after, "born", evicted, "posts").transform(watermarked, "born", evicted)
    # What is made from the event time is the event time no more for Spark.
    earliest = F.min("born").alias("born", metadata=young.schema["born"].metadata)
    first = young.groupBy("post_id", F.window("born", "1 hour")).agg(earliest).select("post_id", "born")
    # An hour may go on while what was born in its beginning has left.
    lasting = first if evicted is None else first.where(F.col("born") > F.lit(evicted))
    return lasting.dropDuplicates(["post_id", "born"])


def bundled(dated: DataFrame) -> DataFrame:
    """Acts of a batch to (post_id, until, acts): up to `BUNDLE` of one post and full hour, and when that hour ends.

    A join looks up and keeps each row by itself, whatever is in it. What tells nothing within the batch and the hour is
    left out, so that a pair adds a few acts to the state of the join, however it flaps: of its likes all but the last
    one, of a comment's additions and of its deletions all between the first and the last.
    """
    is_like = F.col("kind") == "l"
    run = F.when(~is_like, F.col("turns_on")).alias("run")
    hours = dated.select("post_id", F.window("occurred_at", "1 hour").alias("hour"), run, *ACT)
    rank = ("kind", "member", "run", "occurred_at", "event_id", "turns_on")
    in_order = Window.partitionBy("post_id", "hour").orderBy(*rank)
    whose = F.struct("kind", "member", "run")
    goes_on, went_on = (near(whose).over(in_order).eqNullSafe(whose) for near in (F.lead, F.lag))
    tells = hours.withColumn("tells", ~(goes_on & (is_like | went_on))).where("tells")
    act = tells.select("post_id", "hour", "run", *ACT, F.struct(*ACT).alias("act"))
    following = [F.lead("act", places).over(in_order) for places in range(1, BUNDLE)]
    acts = F.array_compact(F.array("act", *following)).alias("acts")
    rows = act.select("post_id", "hour", acts, F.row_number().over(in_order).alias("number"))
    first_of_bundle = rows.where(F.col("number") % BUNDLE == 1)
    return first_of_bundle.select("post_id", F.window_time("hour").alias("until"), "acts")


def summed(changes: DataFrame, *keys: str) -> DataFrame:
    """Changes with the same keys as one, each other column summed; those that cancel out are gone."""
    numbers = [name for name in changes.columns if name not in keys]
    total = changes.groupBy(*keys).agg(*(F.sum(name).alias(name) for name in numbers))
    return total.where(reduce(Column.__or__, (F.col(name) != 0 for name in numbers)))


def as_kept(panes: DataFrame) -> DataFrame:
    """Panes as their table has them: (judged_from, post_id, minute, likes, comments, judged_likes, judged_comments).

    The first two numbers are 0 but in the judging window that begins with the minute's own hour, so that summed over
    all rows they are what stands. Of the others one `judged_from` is summed.
    """
    is_own = F.col("judged_from") == F.date_trunc("hour", "minute")
    own = (F.when(is_own, F.col(name)).otherwise(0).alias(name) for name in ENGAGEMENT)
    judged = (F.col(name).alias(f"judged_{name}") for name in ENGAGEMENT)
    return panes.select(*PANE, *own, *judged)


def as_judged(kept: DataFrame) -> DataFrame:
    """Panes of their table as `minute_panes` has them: sum one `judged_from` only."""
    return kept.select(*PANE, *(F.col(f"judged_{name}").alias(name) for name in ENGAGEMENT))
