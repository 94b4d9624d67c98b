"""What `msm forget` does with facts and tables, in batches; the jobs do not run meanwhile."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from conf.settings import Settings
from conf.store import MEDIA_PATH
from contract import tables
from contract.facts import (
    FACT_TOPICS,
    FUTURE_TOLERANCE_SECONDS,
    CommentDeleted,
    Fact,
    PostDeleted,
    PostUnliked,
    format_time,
    new_event_id,
    parse_time,
)
from contract.spark import SEED_RECORD
from contract.topics import DEAD_LETTERS
from jobs.harness import read_records
from jobs.offsets import Offsets, rows
from jobs.sinks.kafka import producer_options
from jobs.sinks.lake import append, ensure_table, table_path
from jobs.transforms.counts import acts, standing
from jobs.transforms.facts import facts, valid

BY_USER = (tables.POSTS_WITH_COUNTS, tables.POST_FACTS)
AHEAD_MOST = timedelta(seconds=FUTURE_TOLERANCE_SECONDS / 2)
"""How far ahead of the clock a deletion is dated at the most: it must count."""
PLACE = ["topic", "partition", "offset"]
ERASED = StructType().add("topic", "string").add("partition", "integer").add("offset", "long").add("post_id", "string")
Copied = tuple[Offsets, Offsets]
"""From where on and up to where: {topic: {partition: offset}}, twice."""
BY_POST = (tables.ENGAGEMENT_BY_MINUTE, tables.FIRST_HOUR_ENGAGEMENT)


def relevant_facts(spark: SparkSession, settings: Settings, user: str) -> DataFrame:
    """The user's facts and all creations of posts, from Kafka and from the archive; most of them twice."""
    columns = SEED_RECORD.fieldNames()
    records = [read_records(spark, settings, topic).select(columns) for topic in FACT_TOPICS]
    if _is_table(spark, settings, tables.EVENTS):
        records.append(
            _load(spark, settings, tables.EVENTS).withColumnRenamed("arrived_at", "timestamp").select(columns)
        )
    together = records[0]
    for more in records[1:]:
        together = together.unionByName(more)
    is_relevant = (F.col("user_id") == user) | (F.col("event_type") == "post_created")
    return together.transform(facts).transform(valid).where(is_relevant).drop("key", "value")


def take_back(known: DataFrame, user: str, now: datetime) -> Iterator[Fact]:
    """For each thing of the user that stands, the fact that takes it back; none where all is taken back."""
    mine = known.where(F.col("user_id") == user).transform(acts).transform(standing)
    rows = mine.where(F.col("latest.turns_on")).select("kind", "post_id", "member", "latest.occurred_at")
    return (_taking_back(row, user, now) for row in rows.toLocalIterator())


def _taking_back(row: Row, user: str, now: datetime) -> Fact:
    # Things may be dated ahead of the clock; what takes a like back has to come after it, a deletion is final anyway.
    after = parse_time(row.occurred_at) + timedelta(milliseconds=1)
    moment = max(now, after if row.kind == "l" else min(after, now + AHEAD_MOST))
    common = {"event_id": new_event_id(), "occurred_at": format_time(moment), "user_id": user, "post_id": row.post_id}
    if row.kind == "l":
        return PostUnliked(**common)
    if row.kind == "c":
        return CommentDeleted(**common, comment_id=row.member.split("/")[0])
    return PostDeleted(**common)


def pictures_of(known: DataFrame, user: str) -> list[str]:
    """The files of the pictures that this user uploaded and nobody else posted, by whatever address."""
    name = F.regexp_extract("image_url", f".*{MEDIA_PATH}([^/?#]+)", 1)
    uploaded = (F.col("user_id") == user) & F.col("image_url").startswith(MEDIA_PATH)
    by_file = known.where("event_type = 'post_created'").groupBy(name.alias("file"))
    own = by_file.agg(F.bool_or(uploaded).alias("own"), F.bool_and(F.col("user_id") == user).alias("alone"))
    return [row.file for row in own.where("own AND alone").collect()]


def posts_of(known: DataFrame, user: str) -> DataFrame:
    """The ids of the posts that the user made: the first creation of an id is the one."""
    first = F.min_by("user_id", F.struct("occurred_at", "event_id", "user_id"))
    made = known.where("event_type = 'post_created'").groupBy("post_id").agg(first.alias("user_id"))
    return made.where(F.col("user_id") == user).select("post_id")


def is_about(user: str, key: Column, value: Column) -> Column:
    """Whether a record that is no fact names the user; in JSON a name may come right after an escape."""
    name = rf"(^|[^A-Za-z0-9_-]|\\[bfnrt]|\\u[0-9A-Fa-f]{{4}}){user}($|[^A-Za-z0-9_-])"
    texts = (F.make_valid_utf8(column.cast("string")) for column in (key, value))
    named = [F.coalesce(text.rlike(name), F.lit(False)) for text in texts]
    return named[0] | named[1]


def is_of(user: str) -> Column:
    """Of judged records: the user's facts, and whatever is no fact and names the user."""
    is_fact = F.col("reason").isNull()
    return F.when(is_fact, F.col("user_id") == user).otherwise(is_about(user, F.col("key"), F.col("value")))


def rewrite_lake(
    spark: SparkSession, settings: Settings, user: str, posts: DataFrame, copied: Copied | None
) -> dict[str, int]:
    """Take the user out of every table and remove the files that held it; rows removed or changed, by table.

    Nobody may write to or read the tables meanwhile: their old files are gone at once. `copied`: facts that are in
    their topics once more, further behind; these leave the archive with their originals in Kafka.
    """
    mine = spark.createDataFrame([(user,)], "user_id string")
    removed = {}
    if _is_table(spark, settings, tables.EVENTS):
        removed[tables.EVENTS] = _remove_from_archive(spark, settings, user, posts, copied)
    sources = {table: (posts, ["post_id"]) for table in BY_POST} | {table: (mine, ["user_id"]) for table in BY_USER}
    removed |= {
        table: _remove(spark, settings, table, *source)
        for table, source in sources.items()
        if _is_table(spark, settings, table)
    }
    if _is_table(spark, settings, tables.TRENDING_POSTS):
        removed[tables.TRENDING_POSTS] = _remove_from_history(spark, settings, mine)
    return removed


def _remove_from_archive(
    spark: SparkSession, settings: Settings, user: str, posts: DataFrame, copied: Copied | None
) -> int:
    going = _going(spark, _load(spark, settings, tables.EVENTS), user, copied).persist()
    try:
        _note_erased(spark, settings, going, posts)
        return _remove(spark, settings, tables.EVENTS, going.select(PLACE), PLACE)
    finally:
        going.unpersist()


def _going(spark: SparkSession, events: DataFrame, user: str, copied: Copied | None) -> DataFrame:
    """What leaves the archive: (topic, partition, offset, post_id), `post_id` where others' numbers had it in them."""
    judged = events.withColumnRenamed("arrived_at", "timestamp").transform(facts)
    if copied is None:
        return judged.where(is_of(user)).select(
            *PLACE, F.when(F.col("reason").isNull(), F.col("post_id")).alias("post_id")
        )
    kept_from, old = copied
    bounds = [(topic, part, kept_from.get(topic, {}).get(part, 0), offset) for topic, part, offset in rows(old)]
    ranges = spark.createDataFrame(bounds, "topic string, partition int, first bigint, next bigint")
    near = judged.join(F.broadcast(ranges), ["topic", "partition"], "left")
    is_copied = F.coalesce((F.col("offset") >= F.col("first")) & (F.col("offset") < F.col("next")), F.lit(False))
    # What is no fact was not copied: it stays, unless it names the user.
    leaves = is_of(user) | (is_copied & F.col("reason").isNull())
    return near.where(leaves).select(*PLACE, F.lit(None).cast("string").alias("post_id"))


def _note_erased(spark: SparkSession, settings: Settings, going: DataFrame, posts: DataFrame) -> None:
    """Places only, and which posts of others they were about: so an audit knows the gaps for what they are."""
    path = ensure_table(spark, table_path(settings, tables.ERASED), ERASED)
    others = going.join(posts.withColumn("is_own", F.lit(True)), "post_id", "left")
    kept = others.withColumn("post_id", F.when(F.col("is_own").isNull(), F.col("post_id")))
    append(kept.select(ERASED.fieldNames()), path)


def _remove(spark: SparkSession, settings: Settings, table: str, which: DataFrame, keys: list[str]) -> int:
    # A MERGE, since the condition of a DELETE is written to the table's log, and with it the user.
    where = " AND ".join(f"old.{key} = gone.{key}" for key in keys)
    delta = DeltaTable.forPath(spark, table_path(settings, table))
    merged = delta.alias("old").merge(which.distinct().alias("gone"), where).whenMatchedDelete().execute()
    _vacuum(spark, delta)
    return int(merged.first().num_deleted_rows)


def _remove_from_history(spark: SparkSession, settings: Settings, mine: DataFrame) -> int:
    """The user's places leave the rankings; the others keep theirs."""
    delta = DeltaTable.forPath(spark, table_path(settings, tables.TRENDING_POSTS))
    is_there = "exists(old.posts, place -> place.user_id = gone.user_id)"
    left = {"posts": "filter(old.posts, place -> place.user_id <> gone.user_id)"}
    merged = delta.alias("old").merge(mine.alias("gone"), is_there).whenMatchedUpdate(set=left).execute()
    _vacuum(spark, delta)
    return int(merged.first().num_updated_rows)


def _vacuum(spark: SparkSession, delta: DeltaTable) -> None:
    check = "spark.databricks.delta.retentionDurationCheck.enabled"
    spark.conf.set(check, "false")
    try:
        delta.vacuum(0)
    finally:
        spark.conf.unset(check)


def copy_what_stays(spark: SparkSession, settings: Settings, topic: str, user: str) -> None:
    """Append the facts of others to the topic again, each once, to its partition: what comes twice counts once.

    What is no fact stays out, since its date could make it one when it arrives again.
    """
    judged = read_records(spark, settings, topic).transform(facts).transform(valid)
    stays = judged.where(F.col("user_id") != user).select("key", "value", "partition")
    records = stays.dropDuplicates()  # an erasure that was interrupted has copied already
    records.write.format("kafka").options(**producer_options(settings)).option("topic", topic).save()


def copy_letters(spark: SparkSession, settings: Settings, user: str) -> None:
    """Append the dead letters that do not name the user again, each once."""
    records = letters_that_stay(read_records(spark, settings, DEAD_LETTERS), user)
    records.write.format("kafka").options(**producer_options(settings)).option("topic", DEAD_LETTERS).save()


def letters_that_stay(letters: DataFrame, user: str) -> DataFrame:
    """(key, value, partition) of the letters whose records do not name the user, in base64 neither.

    What else a letter says may look like a user: offsets, times, reasons.
    """
    letter = F.from_json(F.col("value").cast("string"), "topic string, key string, value string, encoding string")
    is_encoded = letter["encoding"] == "base64"
    hidden = F.when(is_encoded, F.try_to_binary(letter["value"], F.lit("base64")))
    names = is_about(user, F.col("key"), letter["value"]) | is_about(user, letter["key"], hidden)
    stays = letters.where(letter.isNotNull() & ~names).dropDuplicates(["key", "value"])
    return stays.select("key", "value", "partition")


def has_facts(known: DataFrame, user: str) -> bool:
    """Whether there ever was a fact of the user."""
    return not known.where(F.col("user_id") == user).isEmpty()


def _is_table(spark: SparkSession, settings: Settings, table: str) -> bool:
    return bool(DeltaTable.isDeltaTable(spark, table_path(settings, table)))


def _load(spark: SparkSession, settings: Settings, table: str) -> DataFrame:
    return spark.read.format("delta").load(table_path(settings, table))
