"""Two tellings of the same facts, side by side: what differs, and what makes the one what the other is."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contract.results import SEEN_HEADER, TERM, PostWithCounts
from contract.spark import POST_WITH_COUNTS_JSON
from jobs.transforms.panes import summed
from jobs.transforms.ranking import PastHour

EQUAL, DIFFERENT, MISSING, NEW, MOVING = "equal", "different", "missing", "new", "moving"
LACKING, COMING = "not yet beside", "not yet live"


def under_term(posts: DataFrame, term: int) -> DataFrame:
    """Counted posts with a version that is above each one of an earlier term."""
    return posts.withColumn("version", _under(F.col("version"), term))


def _under(version: Column, term: int) -> Column:
    return version % F.lit(TERM) + F.lit(term * TERM)


def newest_term(records: DataFrame) -> int:
    """The highest term that somebody published under; 0 where there was nobody."""
    version = F.from_json(F.col("value").cast("string"), POST_WITH_COUNTS_JSON)["version"]
    newest = records.agg(F.max(version)).first()
    return int(newest[0] or 0) // TERM if newest else 0


def newest_posts(records: DataFrame) -> DataFrame:
    """Records of a counts topic to the last one of each key: post_id, post (null: deleted), seen.

    What is neither a tombstone nor a counted post is left out.
    """
    post = F.from_json(F.col("value").cast("string"), POST_WITH_COUNTS_JSON)
    headers = F.filter(F.coalesce("headers", F.array()), lambda header: header["key"] == SEEN_HEADER)
    rows = records.where(F.col("key").isNotNull()).select(
        F.col("key").cast("string").alias("post_id"),
        F.col("value").isNull().alias("deleted"),
        post.alias("post"),
        F.try_element_at(headers, F.lit(1))["value"].cast("string").alias("seen"),
        F.struct("partition", "offset").alias("position"),
    )
    is_counted = (F.col("post.post_id") == F.col("post_id")) & F.col("post.version").isNotNull()
    newest = F.max_by(F.struct(F.when(~F.col("deleted"), F.col("post")).alias("post"), "seen"), "position")
    return (
        rows.where(F.col("deleted") | is_counted)
        .groupBy("post_id")
        .agg(newest.alias("newest"))
        .select("post_id", "newest.post", "newest.seen")
    )


def compared(live: DataFrame, beside: DataFrame) -> DataFrame:
    """Two of `newest_posts` to one row a post: post_id, live, beside, and the verdict.

    `equal`, `different`, `missing` (beside), `new` (beside only); `moving` where they differ, and other facts went
    into the one than into the other; `not yet beside`, `not yet live` where one side has no record at all of it. Null
    where it is deleted, or not there, on both sides. Versions are not compared: they depend on redeliveries and terms.
    """
    sides = [
        side.select("post_id", F.struct("post", "seen").alias(name))
        for side, name in ((live, "live"), (beside, "beside"))
    ]
    here, there = F.col("live.post"), F.col("beside.post")
    other_facts = F.col("live.seen") != F.col("beside.seen")  # null where one says nothing: then they just differ
    verdict = (
        F.when(_said(here).eqNullSafe(_said(there)), EQUAL)
        .when(F.col("beside").isNull(), LACKING)
        .when(F.col("live").isNull(), COMING)
        .when(other_facts, MOVING)
        .when(there.isNull(), MISSING)
        .when(here.isNull(), NEW)
        .otherwise(DIFFERENT)
    )
    known = here.isNotNull() | there.isNotNull()
    return sides[0].join(sides[1], "post_id", "full_outer").select("*", F.when(known, verdict).alias("verdict"))


UNSETTLED = (MOVING, LACKING, COMING)


def settled(verdicts: DataFrame, lacking: str, coming: str) -> DataFrame:
    """Say what a post is that one side has no record of, once there is no more waiting for it."""
    verdict = F.col("verdict")
    known = F.when(verdict == LACKING, lacking).when(verdict == COMING, coming).otherwise(verdict)
    return verdicts.withColumn("verdict", known)


def remember_seen(verdicts: DataFrame) -> DataFrame:
    """With `first_seen`: which facts were in both when one looked first."""
    return verdicts.withColumn("first_seen", _seen_by_both())


def stuck_differ(verdicts: DataFrame) -> DataFrame:
    """A moving post into which no fact went since one looked first does not move: it differs."""
    is_stuck = (F.col("verdict") == MOVING) & (F.col("first_seen") == _seen_by_both())
    return verdicts.withColumn("verdict", F.when(is_stuck, DIFFERENT).otherwise(F.col("verdict")))


def _seen_by_both() -> Column:
    return F.array("live.seen", "beside.seen")


def _said(post: Column) -> Column:
    fields = [post[name].alias(name) for name in PostWithCounts.model_fields if name != "version"]
    return F.when(post.isNotNull(), F.struct(*fields))


def panes_that_differ(live: DataFrame, beside: DataFrame, hour: PastHour) -> DataFrame:
    """(post_id, minute) whose panes of the hour add up to something else beside, and by how much."""
    is_judged = F.col("judged_from") == F.lit(hour.judged_from)
    is_within = (F.col("minute") >= F.lit(hour.start)) & (F.col("minute") < F.lit(hour.end))
    columns = ["post_id", "minute", "likes", "comments"]
    taken_away = beside.select("*").withColumns({name: -F.col(name) for name in ("likes", "comments")})
    together = [side.where(is_judged & is_within).select(columns) for side in (live, taken_away)]
    return together[0].unionByName(together[1]).transform(summed, "post_id", "minute")


def told_otherwise(verdicts: DataFrame) -> DataFrame:
    """Rows of `compared` of which the two topics do not say the same of the same records, deleted posts among them.

    A redelivery, or a like of a deleted post, changes no count, but which facts are in.
    """
    is_in_both = F.col("live").isNotNull() & F.col("beside").isNotNull()
    records = [F.struct(f"{side}.seen", F.col(f"{side}.post.version") % F.lit(TERM)) for side in ("live", "beside")]
    return verdicts.where((F.col("verdict") != EQUAL) | (is_in_both & ~records[0].eqNullSafe(records[1])))


def replacements(differing: DataFrame, wanted: str, term: int) -> DataFrame:
    """Rows of `compared` to the records that make a topic say what the side `wanted` says; tombstones for the rest.

    What it does not know was seen by the other side: without, a reader could not tell which facts a tombstone is of.
    """
    other = "live" if wanted == "beside" else "beside"
    post, seen = F.col(f"{wanted}.post"), F.coalesce(f"{wanted}.seen", f"{other}.seen")
    fields = [
        (_under(post[name], term) if name == "version" else post[name]).alias(name)
        for name in PostWithCounts.model_fields
    ]
    header = F.struct(F.lit(SEEN_HEADER).alias("key"), seen.cast("binary").alias("value"))
    return differing.select(
        F.col("post_id").cast("binary").alias("key"),
        F.when(post.isNotNull(), F.to_json(F.struct(*fields))).cast("binary").alias("value"),
        F.when(seen.isNotNull(), F.array(header)).alias("headers"),
    )
