"""The counts topic as a Delta table: one row a living post."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from contract.facts import TIMESTAMP
from contract.results import PostWithCounts
from contract.spark import POST_WITH_COUNTS_JSON, POST_WITH_COUNTS_ROW

_COLUMNS = list(PostWithCounts.model_fields)


def latest_of_each_post(records: DataFrame) -> DataFrame:
    """Records of the compacted topic to one row a post: its highest version after the last tombstone, else `deleted`.

    So a row that is written again behind a newer one changes nothing, and all of them written again end as they did.
    A record that is neither a tombstone nor a counted post is left out: nobody but the counts job writes there.
    """
    counted = F.from_json(F.col("value").cast("string"), POST_WITH_COUNTS_JSON)
    rows = records.where(F.col("key").isNotNull()).select(
        F.col("key").cast("string").alias("key"),
        F.col("value").isNull().alias("deleted"),
        F.is_valid_utf8(F.col("value").cast("string")).alias("is_text"),
        F.struct("partition", "offset").alias("position"),
        counted.alias("post"),
    )
    tombstone = F.max(F.when(F.col("deleted"), F.col("position"))).over(Window.partitionBy("key"))
    # Tombstones have no version: they are the least.
    highest = F.max_by(F.struct("deleted", "post"), F.struct("post.version"))
    return (
        rows.where(F.col("deleted") | _is_counted_post())
        .withColumn("is_over", F.col("position") < tombstone)
        .where("is_over IS NOT TRUE")
        .groupBy("key")
        .agg(highest.alias("last"))
        .select("key", "last.deleted", *(_typed("last.post", name).alias(name) for name in _COLUMNS))
    )


def _is_counted_post() -> Column:
    """Whether every field is there and of its kind: half a row is worse than none."""
    is_whole = reduce(Column.__and__, (_typed("post", name).isNotNull() for name in _COLUMNS))
    is_count = reduce(Column.__and__, (F.col(f"post.{name}") >= 0 for name in ("likes", "comments", "version")))
    is_this = F.col("is_text") & (F.col("post.post_id") == F.col("key"))
    return F.coalesce(is_this & is_whole & is_count, F.lit(False))


def _typed(post: str, name: str) -> Column:
    field, kind = F.col(f"{post}.{name}"), POST_WITH_COUNTS_ROW[name].dataType
    return F.when(field.rlike(rf"^{TIMESTAMP}\z"), field.try_cast(kind)) if kind == TimestampType() else field


def merge_posts(spark: SparkSession, posts: DataFrame, path: str, writer: str, batch_id: int) -> None:
    """Upsert and delete one batch of posts; a batch that is run again after a fault changes nothing."""
    values = {name: f"new.{name}" for name in _COLUMNS}
    with _fenced(spark, writer, batch_id):
        (
            DeltaTable.forPath(spark, path)
            .alias("old")
            .merge(posts.alias("new"), "old.post_id = new.key")
            .whenMatchedDelete("new.deleted")
            .whenMatchedUpdate("new.version > old.version", values)
            .whenNotMatchedInsert("NOT new.deleted", values)
            .execute()
        )


def remove_others(spark: SparkSession, posts: DataFrame, path: str) -> None:
    """Remove rows of posts that are not alive in `posts`, made of all that the topic has, as `latest_of_each_post`."""
    living = posts.where("NOT deleted").select("key")
    table = DeltaTable.forPath(spark, path).alias("old")
    table.merge(living.alias("new"), "old.post_id = new.key").whenNotMatchedBySourceDelete().execute()


@contextmanager
def _fenced(spark: SparkSession, writer: str, batch_id: int) -> Iterator[None]:
    """MERGE takes its fence from the session, not from options."""
    fence = {"txnAppId": writer, "txnVersion": str(batch_id)}
    for name, value in fence.items():
        spark.conf.set(f"spark.databricks.delta.write.{name}", value)
    try:
        yield
    finally:
        for name in fence:
            spark.conf.unset(f"spark.databricks.delta.write.{name}")
