"""From facts to counts that are exact: what stands, how it changed, what it sums to.

Every aggregate here is a maximum, a minimum or a sum of differences of such: the order of arrival and
redeliveries cannot matter, and the state of a (post, user) pair has a fixed size however it flaps.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

PAIR = ("post_id", "kind", "member")


def acts(facts: DataFrame) -> DataFrame:
    """One row a fact: who (`member`) turned what (`kind`: post, like, comment) of a post on or off."""
    is_comment = F.col("topic") == "comments"
    turns_on = F.col("event_type").isin("post_created", "post_liked", "comment_added")
    return facts.select(
        "post_id",
        F.substring("topic", 1, 1).alias("kind"),
        # Member = author makes a stranger's deletion harmless by itself.
        F.when(is_comment, F.concat_ws("/", "comment_id", "user_id")).otherwise(F.col("user_id")).alias("member"),
        "occurred_at",
        "event_id",
        turns_on.alias("turns_on"),
        F.when(F.col("topic") == "posts", F.struct("image_url", "caption")).alias("body"),
        F.struct("partition", "offset").alias("position"),
    )


def standing(acts: DataFrame, *keys: str) -> DataFrame:
    """What stands of each pair: the latest like fact rules; a deletion is final; the first creation is the one.

    `records` counts the pair's records, redeliveries included: it only grows. Of a like, whose latest fact is the
    last one, `touched_at` would say nothing new, and is null.
    """
    is_like = F.col("kind") == "l"
    is_final = ~is_like & ~F.col("turns_on")
    creation = F.when(~is_like & F.col("turns_on"), F.struct("occurred_at", "event_id", "body"))
    return acts.groupBy(*PAIR, *keys).agg(
        F.count("*").alias("records"),
        F.max(F.struct(is_final.alias("final"), "occurred_at", "event_id", "turns_on")).alias("latest"),
        F.min(creation).alias("creation"),
        F.max(F.when(~is_like, F.col("occurred_at"))).alias("touched_at"),
        F.max("position").alias("position"),
    )


def moves(standing: DataFrame, *keys: str, of: Mapping[str, Column]) -> DataFrame:
    """Of each pair the values `of` a standing row, as they are `now` and as they were `before`, when last emitted.

    An aggregate over the updates of an aggregate: `records` orders them, the last two are kept. State has two of
    these values a pair, so name only what is needed; each must be one that may be null, or Spark 4.3 in real time
    refuses the state that 4.2 wrote.
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


def stands() -> Column:
    """True where the pair of a standing row stands, else null."""
    return F.when(F.col("latest.turns_on"), F.lit(True))


def pair_moves(standing: DataFrame) -> DataFrame:
    """What the totals of a post need to know of each of its pairs, `now` and `before`."""
    created = F.col("creation")
    post = F.struct(
        created["occurred_at"].alias("created_at"),
        created["event_id"].alias("event_id"),
        stands().alias("alive"),  # of two rows of one creation the deleted one, a null, is the least
        F.col("member").alias("user_id"),
        created["body"]["image_url"].alias("image_url"),
        created["body"]["caption"].alias("caption"),
    )
    is_like, is_post = F.col("kind") == "l", F.col("kind") == "p"
    touched_at = F.when(is_like, F.col("latest.occurred_at")).when(created.isNotNull(), F.col("touched_at"))
    values = {
        "stands": stands(),
        "post": F.when(is_post & created.isNotNull(), post),
        "touched_at": F.when(~is_post, touched_at),
        "position": F.col("position"),
    }
    return moves(standing, of=values)


def changes(moves: DataFrame) -> DataFrame:
    """Signed changes of one pair, for its post; a post's own row carries the post, order first."""
    change = F.col("now.stands").isNotNull().cast("long") - F.col("before.stands").isNotNull().cast("long")
    return moves.select(
        "post_id",
        "kind",
        F.when(F.col("kind") == "l", change).alias("likes"),
        F.when(F.col("kind") == "c", change).alias("comments"),
        "now.post",
        "now.touched_at",
        (F.col("now.records") - F.coalesce(F.col("before.records"), F.lit(0))).alias("records"),
        "now.position",
    )


def totals(changes: DataFrame) -> DataFrame:
    """Absolute counts of each post. `version` counts its records, so it grows the same way in any batches."""

    def seen(kind: str) -> Column:
        return F.max(F.when(F.col("kind") == kind, F.col("position")))

    return changes.groupBy("post_id").agg(
        F.coalesce(F.sum("likes"), F.lit(0)).alias("likes"),
        F.coalesce(F.sum("comments"), F.lit(0)).alias("comments"),
        F.min("post").alias("post"),
        F.max("touched_at").alias("touched_at"),
        F.sum("records").alias("version"),
        seen("p").alias("posts"),
        seen("l").alias("likes_seen"),
        seen("c").alias("comments_seen"),
    )


def posts_with_counts(totals: DataFrame) -> DataFrame:
    """The known posts, `alive` or deleted, with the fields of the contract and what was `seen` of each topic."""
    post = F.col("post")
    return totals.where(post.isNotNull()).select(
        "post_id",
        post["user_id"].alias("user_id"),
        post["image_url"].alias("image_url"),
        post["caption"].alias("caption"),
        post["created_at"].alias("created_at"),
        "likes",
        "comments",
        F.greatest(post["created_at"], "touched_at").alias("updated_at"),
        "version",
        post["alive"].isNotNull().alias("alive"),
        F.struct(
            _pair("posts").alias("posts"),
            _pair("likes_seen").alias("likes"),
            _pair("comments_seen").alias("comments"),
        ).alias("seen"),
    )


def _pair(position: str) -> Column:
    struct = F.col(position)
    return F.when(struct.isNotNull(), F.array(struct["partition"].cast("long"), struct["offset"]))


def living_posts(post_facts: DataFrame) -> DataFrame:
    """The posts that live, without counts: rule 4 alone, in two plain aggregates, cheap enough for each tick."""
    body = F.struct("occurred_at", "event_id", "image_url", "caption")
    creation = F.min(F.when(F.col("event_type") == "post_created", body)).alias("creation")
    deleted = F.max(F.col("event_type") == "post_deleted").alias("deleted")
    by_author = post_facts.groupBy("post_id", "user_id").agg(creation, deleted)
    first = F.min(F.struct("creation", "user_id", "deleted")).alias("post")
    posts = by_author.where(F.col("creation").isNotNull()).groupBy("post_id").agg(first)
    return posts.where(~F.col("post.deleted")).select(
        "post_id",
        "post.user_id",
        "post.creation.image_url",
        "post.creation.caption",
        F.col("post.creation.occurred_at").alias("created_at"),
    )


def count(facts: DataFrame) -> DataFrame:
    """All of it: stream, backfill and audit call this and nothing else."""
    return (
        facts.transform(acts)
        .transform(standing)
        .transform(pair_moves)
        .transform(changes)
        .transform(totals)
        .transform(posts_with_counts)
    )
