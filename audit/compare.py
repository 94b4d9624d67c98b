"""Puts what everybody says of a post side by side, and says what does not agree."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contract.results import TERM


def side_by_side(
    read: DataFrame,
    transforms: DataFrame,
    statement: DataFrame,
    table: DataFrame | None,
    feed: DataFrame | None,
    erased: DataFrame,
    newer: DataFrame,
    settled_at: datetime | None = None,
) -> DataFrame:
    """One row a post of which anybody says anything, with `why`: the sentences on what does not agree.

    `read`: (post_id, topic, at_table, at_feed, and each with _again), as `published.as_read` has them; `transforms`:
    (post_id, alive, said, seen); `statement`: the same and (counted, superseded, waiting, missed, unsettled); `table`:
    (post_id, said); `feed`: (post_id, said, feed_later); `erased`: (post_id) of posts of which records were erased;
    `newer`: (post_id) of posts with a row behind those of `topic`.

    Of a post that had something erased, likes and comments are compared, but not how many records went in, nor which.

    A post that `is_unsettled` is judged the next time. So is one that does not agree, and whose row is of `settled_at`
    or later: in real time a row may say of a fact that it went in while an older one is still on its way. And one that
    has nothing but newer rows: compaction took the others before they were read.
    """
    wide = read.join(_named(statement, "statement"), "post_id", "full").join(
        _named(transforms, "transforms"), "post_id", "full"
    )
    about = erased.select("post_id", F.lit(True).alias("had_erased")).distinct()
    wide = _with(wide.join(about, "post_id", "left"), table, "table")
    wide = _with(wide, feed, "feed")
    moved = newer.select("post_id", F.lit(True).alias("has_moved")).distinct()
    wide = wide.join(moved, "post_id", "left")
    checks = [*_against_facts(), *_topic_itself()]
    checks += _table_is_topic() if table is not None else []
    checks += _feed_is_topic() if feed is not None else []
    why = F.array_compact(F.array(*(F.when(F.coalesce(wrong, F.lit(False)), F.lit(say)) for say, wrong in checks)))
    wide = wide.withColumn("why", why)
    is_young = F.col("topic.place.timestamp") >= F.lit(settled_at) if settled_at else F.lit(False)
    is_compacted = F.col("topic").isNull() & F.coalesce(F.col("has_moved"), F.lit(False))
    is_unsettled = (F.col("unsettled") > 0) | ((is_young | is_compacted) & (F.size("why") > 0))
    wide = wide.withColumn("is_unsettled", F.coalesce(is_unsettled, F.lit(False)))
    nothing = F.array().cast("array<string>")
    return wide.withColumn("why", F.when(F.col("is_unsettled"), nothing).otherwise(F.col("why")))


def _named(recount: DataFrame, name: str) -> DataFrame:
    rest = [column for column in recount.columns if column not in ("post_id", "alive", "said", "seen")]
    return recount.select("post_id", F.struct("alive", "said", "seen").alias(name), *rest)


def _with(wide: DataFrame, source: DataFrame | None, name: str) -> DataFrame:
    if source is None:
        return wide.withColumn(name, F.lit(None))
    return wide.join(source.withColumnRenamed("said", name), "post_id", "full")


def _against_facts() -> list[tuple[str, Column]]:
    published, living = F.col("topic").isNotNull(), F.col("topic.said").isNotNull()
    checks = [
        ("the topic's row has no header `seen`", published & F.col("topic.seen").isNull()),
        ("facts that the counts job has passed are not in the topic's row", published & (F.col("missed") > 0)),
    ]
    for name in ("statement", "transforms"):
        alive = F.coalesce(F.col(f"{name}.alive"), F.lit(False))
        said = F.col("topic.said").withField("version", F.col("topic.said.version") % TERM)
        same = said.eqNullSafe(F.col(f"{name}.said")) & F.col("topic.seen").eqNullSafe(F.col(f"{name}.seen"))
        same |= F.coalesce(F.col("had_erased"), F.lit(False)) & _same_numbers(said, F.col(f"{name}.said"))
        checks += [
            (f"the topic's row is not what the {name} make of its facts", living & alive & ~same),
            (f"the topic has a post that the {name} do not know, or know as deleted", living & ~alive),
            (f"the topic has no row of a post that the {name} have", ~living & alive),
        ]
    return checks


def _same_numbers(one: Column, other: Column) -> Column:
    return one["likes"].eqNullSafe(other["likes"]) & one["comments"].eqNullSafe(other["comments"])


def _topic_itself() -> list[tuple[str, Column]]:
    is_same_version = F.col("topic.said.version") == F.col("topic_again.said.version")
    is_same_seen = F.col("topic_again.seen").isNull() | F.col("topic.seen").eqNullSafe(F.col("topic_again.seen"))
    differ = ~F.col("topic.said").eqNullSafe(F.col("topic_again.said"))
    return [("the topic has two rows of one version that differ", is_same_version & is_same_seen & differ)]


def _table_is_topic() -> list[tuple[str, Column]]:
    expected, now = F.col("at_table.said"), F.col("topic.said")
    # Kafka may have compacted away what the table was made from: the row after it is there, newer or written again.
    is_newer = F.coalesce(now["version"] > F.col("table.version"), F.col("topic").isNotNull())
    is_overtaken = F.col("at_table").isNull() & (is_newer | now.eqNullSafe(F.col("table")))
    return [("the table's row is not the topic's", ~expected.eqNullSafe(F.col("table")) & ~is_overtaken)]


def _feed_is_topic() -> list[tuple[str, Column]]:
    feed, asked, now = F.col("feed"), F.col("at_feed.said"), F.col("topic.said")
    # Records are written again after a fault: a reader ignores them.
    is_news = F.coalesce(feed["version"] > asked["version"], F.lit(True))
    is_later = F.coalesce(F.col("feed_later"), F.lit(False)) & is_news
    is_same = feed.eqNullSafe(asked) | feed.eqNullSafe(now) | is_later
    # Before the feed was asked the topic had nothing that is still there: it was compacted away, or is new.
    is_new = F.col("at_feed").isNull() & (feed.isNull() | (F.col("topic.said.version") > F.col("feed.version")))
    return [("the feed's answer is not the topic's row", ~is_same & ~F.coalesce(is_new, F.lit(False)))]
