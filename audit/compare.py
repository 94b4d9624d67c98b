"""Puts what everybody says of a post side by side, and says what does not agree."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contract.results import TERM

OF_ALL_RECORDS = ("version", "updated_at")
"""The fields of a row that depend on records that take no other part in it."""


def side_by_side(
    read: DataFrame,
    transforms: DataFrame,
    statement: DataFrame,
    table: DataFrame | None,
    feed: DataFrame | None,
    erased: DataFrame,
    newer: DataFrame,
) -> DataFrame:
    """One row a post of which anybody says anything, with `why`: the sentences on what does not agree.

    `shown` is what they complain of.

    `read`: (post_id, topic, at_table, at_feed, and each with _again), as `published.as_read` has them, and the row that
    is `judged` by the facts, the topic's where nothing is on its way, and whether it `is_young`; `transforms`:
    (post_id, alive, said, seen); `statement`: the same and (counted, superseded, waiting, missed, unsettled); `table`:
    (post_id, said); `feed`: (post_id, said, feed_later); `erased`: (post_id) of posts of which records were erased;
    `newer`: (post_id) of posts with a row behind those of `topic`.

    Of a post that had something erased it is not compared how many records went in, which, and the latest date of them.

    A post that `is_unsettled` is judged by its facts the next time. So is one that does not agree with them, and whose
    row `is_young`: in real time a row may say of a fact that it went in while an older one is still on its way. One
    that has nothing but newer rows is not judged at all: compaction took the others before they were read.
    """
    wide = read.join(_named(statement, "statement"), "post_id", "full").join(
        _named(transforms, "transforms"), "post_id", "full"
    )
    about = erased.select("post_id", F.lit(True).alias("had_erased")).distinct()
    wide = _with(wide.join(about, "post_id", "left"), table, "table")
    wide = _with(wide, feed, "feed")
    moved = newer.select("post_id", F.lit(True).alias("has_moved")).distinct()
    wide = wide.join(moved, "post_id", "left")
    of_facts = _sentences(_against_facts())
    of_topic = _sentences(
        _topic_itself()
        + (_table_is_topic() if table is not None else [])
        + (_feed_is_topic() if feed is not None else [])
    )
    is_any = F.size(of_facts) + F.size(of_topic) > 0
    is_on_its_way = _is((F.col("unsettled") > 0) | (F.col("is_young") & (F.size(of_facts) > 0)))
    is_compacted = _is(F.col("topic").isNull() & F.col("has_moved") & is_any)
    nothing = F.array().cast("array<string>")
    facts_say = F.when(is_on_its_way, nothing).otherwise(of_facts)
    why = F.when(is_compacted, nothing).otherwise(F.concat(facts_say, of_topic))
    shown = F.when(F.size(facts_say) > 0, F.col("judged.said")).otherwise(F.col("topic.said"))
    return wide.withColumns({"why": why, "is_unsettled": is_on_its_way | is_compacted, "shown": shown})


def _is(claim: Column) -> Column:
    """Whether it is so; what nobody can say is not."""
    return F.coalesce(claim, F.lit(False))


def _sentences(checks: list[tuple[str, Column]]) -> Column:
    """What is wrong of these."""
    return F.array_compact(F.array(*(F.when(_is(wrong), F.lit(say)) for say, wrong in checks)))


def _named(recount: DataFrame, name: str) -> DataFrame:
    rest = [column for column in recount.columns if column not in ("post_id", "alive", "said", "seen")]
    return recount.select("post_id", F.struct("alive", "said", "seen").alias(name), *rest)


def _with(wide: DataFrame, source: DataFrame | None, name: str) -> DataFrame:
    if source is None:
        return wide.withColumn(name, F.lit(None))
    return wide.join(source.withColumnRenamed("said", name), "post_id", "full")


def _against_facts() -> list[tuple[str, Column]]:
    published, living = F.col("judged").isNotNull(), F.col("judged.said").isNotNull()
    checks = [
        ("the topic's row has no header `seen`", F.col("topic").isNotNull() & F.col("topic.seen").isNull()),
        ("facts that the counts job has passed are not in the topic's row", published & (F.col("missed") > 0)),
    ]
    for name in ("statement", "transforms"):
        alive = _is(F.col(f"{name}.alive"))
        said = F.col("judged.said").withField("version", F.col("judged.said.version") % TERM)
        same = said.eqNullSafe(F.col(f"{name}.said")) & F.col("judged.seen").eqNullSafe(F.col(f"{name}.seen"))
        same |= _is(F.col("had_erased")) & _same_but_for_erased(said, F.col(f"{name}.said"))
        checks += [
            (f"the topic's row is not what the {name} make of its facts", living & alive & ~same),
            (f"the topic has a post that the {name} do not know, or know as deleted", living & ~alive),
            (f"the topic has no row of a post that the {name} have", ~living & alive),
        ]
    return checks


def _same_but_for_erased(one: Column, other: Column) -> Column:
    return one.dropFields(*OF_ALL_RECORDS).eqNullSafe(other.dropFields(*OF_ALL_RECORDS))


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
    is_later = _is(F.col("feed_later")) & is_news
    is_same = feed.eqNullSafe(asked) | feed.eqNullSafe(now) | is_later
    # Before the feed was asked the topic had nothing that is still there: it was compacted away, or is new.
    is_new = F.col("at_feed").isNull() & (feed.isNull() | (F.col("topic.said.version") > F.col("feed.version")))
    return [("the feed's answer is not the topic's row", ~is_same & ~_is(is_new))]
