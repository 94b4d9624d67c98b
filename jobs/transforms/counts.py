"""From facts to counts that are exact: what stands, how it changed, what it sums to.

Every aggregate here is a maximum, a minimum or a sum of differences of such: the order of arrival and
redeliveries cannot matter, and the state of a (post, user) pair has a fixed size however it flaps.
"""

import secrets

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

PAIR = ("post_id", "kind", "member")
PLANS = 1_000


def this_batch() -> Column:
    """A number that the records of a micro-batch have in common, and those of no other; in a plan, take it once.

    When Spark planned the batch, in milliseconds, and one of a thousand numbers that each plan draws: a clock that is
    set back comes to the same millisecond again, and the job plans anew then.

    Of rows with a `kind`. Spark does not know that its length is always one, so the number stays outside the generated
    code; as a literal it would have all of that compiled anew for each batch, by Spark and by Java.
    """
    number = f"unix_millis(current_timestamp()) * {PLANS} + {secrets.randbelow(PLANS)}"
    return F.element_at(F.expr(f"(SELECT array({number}))"), F.length("kind"))


def mark(batch: Column, turns_on: Column) -> Column:
    """In one number the batch that a record came in, and whether it turns on."""
    return batch * 2 + turns_on.cast("long")


def turned_on(mark: Column) -> Column:
    """Whether the record with this mark turns on."""
    return F.pmod(mark, F.lit(2)) == 1


def is_of(batch: Column, mark: Column) -> Column:
    """Whether the record with this mark came in this batch."""
    return F.shiftright(mark, 1) == batch


def acts(facts: DataFrame, batch: Column | None = None) -> DataFrame:
    """One row a fact: who (`member`) turned what (`kind`: post, like, comment) of a post on or off.

    `mark`: what `mark(batch, turns_on)` says.
    """
    is_comment = F.col("topic") == "comments"
    turns_on = F.col("event_type").isin("post_created", "post_liked", "comment_added")
    return facts.withColumn("kind", F.substring("topic", 1, 1)).select(
        "post_id",
        "kind",
        # Member = author makes a stranger's deletion harmless by itself.
        F.when(is_comment, F.concat_ws("/", "comment_id", "user_id")).otherwise(F.col("user_id")).alias("member"),
        "occurred_at",
        "event_id",
        turns_on.alias("turns_on"),
        F.when(F.col("topic") == "posts", F.struct("image_url", "caption")).alias("body"),
        F.struct("partition", "offset").alias("position"),
        mark(this_batch() if batch is None else batch, turns_on).alias("mark"),
    )


def standing(acts: DataFrame) -> DataFrame:
    """What `rulings` tell of each pair, when a fact that is no like last touched it, and where its last record is.

    A like's latest fact is the last one: its `touched_at` would say nothing new, and is null.
    """
    creation = F.struct("occurred_at", "event_id", "body")
    touched_at = F.max(F.when(F.col("kind") != "l", F.col("occurred_at"))).alias("touched_at")
    position = F.max("position").alias("position")
    return acts.groupBy(*PAIR).agg(*rulings(creation), touched_at, position, *extremes(F.col("mark")))


def rulings(creation: Column) -> list[Column]:
    """What stands of a pair: the latest like fact rules; a deletion is final; the first creation is the one.

    `records` counts the pair's records, redeliveries included: it only grows. `creation`: what to know of the first
    one, the time first in it.
    """
    is_like = F.col("kind") == "l"
    is_final = ~is_like & ~F.col("turns_on")
    return [
        F.count("*").alias("records"),
        F.max(F.struct(is_final.alias("final"), "occurred_at", "event_id", "turns_on")).alias("latest"),
        F.min(F.when(~is_like & F.col("turns_on"), creation)).alias("creation"),
    ]


def extremes(of_each: Column) -> list[Column]:
    """The `least` and the `greatest` of what is to be known of each record, its mark first in it."""
    return [F.min(of_each).alias("least"), F.max(of_each).alias("greatest")]


def stands() -> Column:
    """True where the pair of a standing row stands, else null."""
    return F.when(F.col("latest.turns_on"), F.lit(True))


def contributions(standing: DataFrame, batch: Column, lone: int) -> DataFrame:
    """What each pair adds to its post: of itself where it has at most `lone` records, else by its changes.

    A pair with its only record in this batch will never be emitted so again: it needs no memory of its own, and what
    its post has of such can be summed. `pair` is null for it, and names every other.
    """
    created, is_lone = F.col("creation"), F.col("records") <= lone
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

    # Each may be null, also the first: Spark 4.3 in real time refuses the state that 4.2 wrote otherwise.
    # Of a pair that had one record before this batch, whether that turned on; null where it had none, and of one that
    # had more, it means nothing. Marks are compared for being the same: clocks step back.
    marks = F.col("least"), F.col("greatest")
    was_on = F.coalesce(*(F.when(~is_of(batch, one), turned_on(one)) for one in marks)).alias("was_on")
    update = F.when(~is_lone, F.col("records")).alias("records"), stands().alias("stands"), was_on

    def seen(kind: str) -> Column:
        return F.when(F.col("kind") == kind, F.col("position"))

    def alone(kind: str) -> Column:
        return F.when(is_lone & (F.col("kind") == kind), stands().isNotNull().cast("long"))

    return standing.select(
        "post_id",
        F.when(~is_lone, F.concat("kind", "member")).alias("pair"),
        alone("l").alias("likes"),
        alone("c").alias("comments"),
        F.when(is_lone, F.col("records")).alias("records"),
        F.when(~is_lone, F.struct(*update)).alias("update"),
        F.when(is_post & created.isNotNull(), post).alias("post"),
        F.when(~is_post, touched_at).alias("touched_at"),
        seen("p").alias("posts"),
        seen("l").alias("likes_seen"),
        seen("c").alias("comments_seen"),
    )


def kept(contributions: DataFrame) -> DataFrame:
    """Of each post the sums of what lone pairs add; of each other pair its last two updates, by its records."""
    return contributions.groupBy("post_id", "pair").agg(
        F.sum("likes").alias("likes"),
        F.sum("comments").alias("comments"),
        F.sum("records").alias("records"),
        F.max_by("update", F.col("update.records"), 2).alias("last_two"),
        *_seen_of_post(),
    )


def _seen_of_post() -> list[Column]:
    least, greatest = ("post",), ("touched_at", "posts", "likes_seen", "comments_seen")
    return [F.min(name).alias(name) for name in least] + [F.max(name).alias(name) for name in greatest]


def changes(kept: DataFrame) -> DataFrame:
    """For each post what stands of its lone pairs (`alone`), and signed changes of one other pair."""
    now, before = F.element_at("last_two", 1), F.try_element_at("last_two", F.lit(2))
    # A pair that was lone was counted with its post: that is what stood of it before its first change.
    did_stand = F.coalesce(before["stands"], F.when(before.isNull(), now["was_on"]), F.lit(False))
    had = F.coalesce(before["records"], F.when(now["was_on"].isNotNull(), F.lit(1)), F.lit(0))
    change = now["stands"].isNotNull().cast("long") - did_stand.cast("long")
    is_lone, kind = F.col("pair").isNull(), F.left("pair", F.lit(1))
    return kept.select(
        "post_id",
        F.when(is_lone, F.struct("records", "likes", "comments")).alias("alone"),
        F.when(kind == "l", change).alias("likes"),
        F.when(kind == "c", change).alias("comments"),
        F.when(~is_lone, now["records"] - had).alias("records"),
        "post",
        "touched_at",
        "posts",
        "likes_seen",
        "comments_seen",
    )


def totals(changes: DataFrame) -> DataFrame:
    """Absolute counts of each post. `version` counts its records, so it grows the same way in any batches."""
    added = changes.groupBy("post_id").agg(
        F.max("alone").alias("alone"),
        F.sum("likes").alias("likes"),
        F.sum("comments").alias("comments"),
        F.sum("records").alias("records"),
        *_seen_of_post(),
    )

    def both(name: str) -> Column:
        return F.coalesce(F.col("alone")[name], F.lit(0)) + F.coalesce(F.col(name), F.lit(0))

    return added.withColumns(
        {"likes": both("likes"), "comments": both("comments"), "version": both("records")},
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


def first_of_each(post_facts: DataFrame) -> DataFrame:
    """Of each post, author and type of fact the first: as much as `living_posts` looks at, however often they came."""
    keys, order = ["post_id", "user_id", "event_type"], ["occurred_at", "event_id", "image_url", "caption"]
    first = F.min(F.struct(*order)).alias("first")
    return post_facts.groupBy(*keys).agg(first).select(*keys, "first.*")


def living_posts(post_facts: DataFrame) -> DataFrame:
    """The posts that live, without counts: rule 4 (docs/counting.md), in two aggregates, cheap enough for each tick."""
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


def count(facts: DataFrame, in_batches: bool = True) -> DataFrame:
    """All of it: stream, backfill and audit call this and nothing else.

    In real time records have no batch in common, and every pair is kept by itself; both go on from the same state.
    """
    batch, lone = (this_batch(), 1) if in_batches else (F.lit(0).cast("long"), 0)
    return (
        facts.transform(acts, batch)
        .transform(standing)
        .transform(contributions, batch, lone)
        .transform(kept)
        .transform(changes)
        .transform(totals)
        .transform(posts_with_counts)
    )
