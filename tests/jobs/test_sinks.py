"""Tables of the lake: a batch that is run again changes nothing; signed changes add up."""

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from conf.settings import Settings
from contract import tables
from contract.spark import POST_WITH_COUNTS_ROW
from jobs import trending_posts
from jobs.archive import EVENTS, keep_events
from jobs.checkpoints import done_batch
from jobs.harness import fix, query_id, reason
from jobs.sinks.lake import (
    COMPACT_EVERY,
    Appends,
    append,
    append_once,
    compact,
    drop,
    ensure_table,
    fold,
    refuse_older_checkpoint,
    table_path,
)
from jobs.sinks.projection import latest_of_each_post, merge_posts
from jobs.sinks.rankings import Rankings
from jobs.transforms.counts import first_of_each, living_posts
from jobs.transforms.panes import as_kept
from jobs.trending_posts import KEPT_PANES, PANES, POST_FACTS, newest_fact, tidy
from tests.jobs.histories import RECORD, fact, records
from tests.jobs.streams import CutStream

pytestmark = pytest.mark.spark
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
CHANGES = "post_id string, minute int, likes long, comments long"


def post(post_id: str, version: int, likes: int) -> bytes:
    times = dict.fromkeys(("created_at", "updated_at"), "2026-11-20T12:00:00.000Z")
    body = {"post_id": post_id, "user_id": "ada", "image_url": "/a.jpg", "caption": "", "comments": 0, **times}
    return json.dumps({**body, "likes": likes, "version": version}).encode()


class Projection:
    """The table of the counts, fed with batches of records of the topic."""

    def __init__(self, spark: SparkSession, path: Path) -> None:
        self._spark, self._offset = spark, 0
        self._path = ensure_table(spark, str(path), POST_WITH_COUNTS_ROW)

    def feed(self, batch_id: int, *records: tuple[bytes | None, bytes | None], writer: str = "w") -> None:
        rows = [
            ("posts_with_counts", 0, self._offset + at, NOON, key, value) for at, (key, value) in enumerate(records)
        ]
        self._offset += len(rows)
        posts = self._spark.createDataFrame(rows, RECORD).transform(latest_of_each_post)
        merge_posts(self._spark, posts, self._path, writer, batch_id)

    def likes(self) -> dict[str, int]:
        rows = self._spark.read.format("delta").load(self._path).collect()
        assert len({row.post_id for row in rows}) == len(rows)
        return {row.post_id: row.likes for row in rows}


@pytest.fixture
def projection(spark: SparkSession, tmp_path: Path) -> Projection:
    return Projection(spark, tmp_path / "posts_with_counts")


def test_the_last_record_of_a_post_wins_within_a_batch(projection: Projection) -> None:
    projection.feed(0, (b"p1", post("p1", 1, 1)), (b"p1", post("p1", 2, 0)), (b"p2", post("p2", 1, 9)))
    assert projection.likes() == {"p1": 0, "p2": 9}


def test_a_row_that_is_written_again_within_a_batch_changes_nothing(projection: Projection) -> None:
    rows: dict[str, list[int | None]] = {
        "behind a newer one": [5, 7, 6],
        "of the same version": [7, 7, 7],
        "all again": [5, None, 5, None],
        "all again, of a post that came back": [5, None, 7, 5, None, 7, 6],
        "deleted": [None, None],
    }
    for batch_id, (post_id, versions) in enumerate(rows.items()):
        likes = enumerate(versions)
        values = [None if version is None else post(post_id, version, at) for at, version in likes]
        projection.feed(batch_id, *((post_id.encode(), value) for value in values))
    living = projection.likes()
    assert living.pop("of the same version") in (0, 1, 2)
    assert living == {"behind a newer one": 1, "all again, of a post that came back": 5}


def test_a_version_that_is_not_above_changes_nothing(projection: Projection) -> None:
    projection.feed(0, (b"p1", post("p1", 5, 5)))
    projection.feed(1, (b"p1", post("p1", 4, 1)))
    projection.feed(2, (b"p1", post("p1", 5, 2)))
    assert projection.likes() == {"p1": 5}
    projection.feed(3, (b"p1", post("p1", 6, 3)))
    assert projection.likes() == {"p1": 3}


def test_a_tombstone_removes_and_may_come_for_what_was_never_there(projection: Projection) -> None:
    projection.feed(0, (b"p1", post("p1", 1, 1)), (b"p2", post("p2", 1, 1)))
    projection.feed(1, (b"p1", None), (b"p3", None))
    projection.feed(2, (b"p4", post("p4", 1, 1)), (b"p4", None))
    assert projection.likes() == {"p2": 1}


def test_a_batch_that_is_run_again_changes_nothing(projection: Projection) -> None:
    projection.feed(0, (b"p1", post("p1", 1, 1)))
    projection.feed(0, (b"p1", post("p1", 9, 9)))
    assert projection.likes() == {"p1": 1}
    projection.feed(0, (b"p1", post("p1", 9, 9)), writer="a new checkpoint")
    assert projection.likes() == {"p1": 9}


def test_garbage_in_the_result_topic_stops_nothing(projection: Projection) -> None:
    garbage: list[tuple[bytes | None, bytes | None]] = [
        (None, post("p1", 7, 7)),
        (None, None),
        (b"p1", b"{"),
        (b"p1", b"\xff\xfe"),
        (b"p1", b"[]"),
        (b"p1", b'{"post_id": "p1"}'),
        (b"other", post("p1", 7, 7)),
    ]
    projection.feed(0, (b"p1", post("p1", 1, 1)))
    projection.feed(1, *garbage, (b"p2", post("p2", 1, 2)))
    assert projection.likes() == {"p1": 1, "p2": 2}


def counted(**changed: Any) -> bytes:
    times = dict.fromkeys(("created_at", "updated_at"), "2026-11-20T12:00:00.000Z")
    counts = {"likes": 5, "comments": 5, "version": 10**6}
    return json.dumps(
        {"post_id": "p1", "user_id": "ada", "image_url": "", "caption": "", **counts, **times, **changed}
    ).encode()


RESULTS: dict[str, bytes] = {
    "a negative count": counted(likes=-1),
    "a count of 2**70": counted(likes=2**70),
    "a version of 2**70": counted(version=2**70),
    "a negative version": counted(version=-1),
    "a count as text": counted(likes="5"),
    "a count that is a fraction": counted(likes=1.5),
    "no count": counted(comments=None),
    "no caption": counted(caption=None),
    "a date that is none": counted(created_at="yesterday"),
    "a date that is a number": counted(updated_at=5),
    "the year 10000": counted(created_at="10000-01-01T00:00:00.000Z"),
    "10,000 levels": b"[" * 10_000,
    "a megabyte": b"x" * 1_000_000,
    "no UTF-8": counted().replace(b"ada", b"\xff"),
    "NaN": counted().replace(b"1000000", b"NaN"),
}


@pytest.mark.parametrize("bad", RESULTS.values(), ids=RESULTS.keys())
def test_half_a_result_is_none(spark: SparkSession, bad: bytes) -> None:
    records = spark.createDataFrame([("posts_with_counts", 0, 0, NOON, b"p1", bad)], RECORD)
    assert records.transform(latest_of_each_post).collect() == []


def assert_rows(spark: SparkSession, path: str, *rows: tuple[Any, ...]) -> None:
    """The table has these rows of CHANGES, and no others."""
    wanted = spark.createDataFrame(rows, CHANGES)
    assert_df_equality(spark.read.format("delta").load(path), wanted, ignore_row_order=True)


def rows(spark: SparkSession, path: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in spark.read.format("delta").load(path).collect())


def test_a_batch_is_appended_once(spark: SparkSession, tmp_path: Path) -> None:
    path = ensure_table(spark, str(tmp_path / "t"), spark.createDataFrame([], CHANGES).schema)
    one = spark.createDataFrame([("p", 1, 1, 0)], CHANGES)
    for batch_id in (0, 0, 1, 0, 1):
        append_once(one, path, "w", batch_id)
    assert len(rows(spark, path)) == 2
    append_once(one, path, "a new checkpoint", 0)
    assert len(rows(spark, path)) == 3


def test_the_first_batch_after_a_start_is_appended_unless_it_is_there(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    path = ensure_table(spark, table_path(settings, "t"), spark.createDataFrame([], CHANGES).schema)

    def after_a_start(writer: str, *batch_ids: int) -> int:
        table = Appends(settings, "t", "q")
        for batch_id in batch_ids:
            table.append(spark.createDataFrame([("p", 1, 1, 0)], CHANGES), writer, batch_id)
        return len(rows(spark, path))

    assert after_a_start("w", 0, 1, 2) == 3
    drop(spark, path, "minute = 7")
    compact(spark, path)  # later commits, of nobody's batch
    noted = spark.createDataFrame([], CHANGES).write.format("delta").mode("append")
    noted.option("userMetadata", "mended by hand").save(path)
    assert after_a_start("w", 2) == 3
    assert after_a_start("w", 2, 3, 4) == 5
    assert after_a_start("w", 5) == 6
    assert after_a_start("a new checkpoint", 5) == 7
    assert after_a_start("w", 5) == 7


class Copied:
    """A query that appends each of its batches, and its checkpoint, of which copies are put back."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.checkpoint = self.settings.checkpoint_dir / "trending_posts"
        self._stream, self._folder = CutStream(spark, folder), folder

    def run(self, sink: Callable[[DataFrame, int], None]) -> None:
        self._stream.add([fact("post_liked", "e", NOON)])
        self._stream.run(lambda records: records.select("offset"), sink)
        self.put_back(self._folder / "checkpoint")

    def copy(self) -> Path:
        return Path(shutil.copytree(self.checkpoint, self._folder / uuid.uuid4().hex))

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.copytree(copy, self.checkpoint)

    def lose_the_commit(self) -> None:
        """As a kill leaves it that comes after the write."""
        (self.checkpoint / "commits" / str(done_batch(self.checkpoint))).unlink()


def test_a_checkpoint_that_is_older_than_its_table_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    query, schema = Copied(spark, tmp_path), StructType().add("offset", "long")
    path = ensure_table(spark, table_path(query.settings, "t"), schema)

    def refuse() -> None:
        refuse_older_checkpoint(spark, query.checkpoint, path, "w")

    refuse()  # there is no checkpoint yet
    copies = []
    for _ in range(2):
        query.run(lambda rows, batch_id: append_once(rows, path, f"w-{query_id(rows)}", batch_id))
        refuse()
        copies.append(query.copy())
    query.lose_the_commit()
    refuse()
    query.put_back(copies[0])  # it ends one batch before the table: that batch would be planned anew, with other rows
    with pytest.raises(
        SystemExit, match=r"checkpoints/trending_posts is older than its table .*lake/t: start both over"
    ):
        refuse()
    query.put_back(copies[1])
    refuse()
    shutil.rmtree(query.checkpoint)
    refuse()


def test_what_is_looked_for_in_the_notes_of_a_table_refuses_an_older_checkpoint_too(
    spark: SparkSession, tmp_path: Path
) -> None:
    query, schema = Copied(spark, tmp_path), StructType().add("offset", "long")
    path = ensure_table(spark, table_path(query.settings, "t"), schema)
    copies = []
    for _ in range(2):
        table = Appends(query.settings, "t", query.checkpoint.name)
        query.run(lambda rows, batch_id, to=table: to.append(rows, f"w-{query_id(rows)}", batch_id))
        copies.append(query.copy())
    compact(spark, path)  # later commits, of nobody's batch
    query.lose_the_commit()
    Appends(query.settings, "t", query.checkpoint.name)
    query.put_back(copies[0])
    with pytest.raises(
        SystemExit, match=r"checkpoints/trending_posts is older than its table .*lake/t: start both over"
    ):
        Appends(query.settings, "t", query.checkpoint.name)
    shutil.rmtree(query.checkpoint)
    Appends(query.settings, "t", query.checkpoint.name)


def test_later_batches_are_appended_without_a_look_at_what_is_there(spark: SparkSession, tmp_path: Path) -> None:
    settings, one = Settings(data_dir=tmp_path), spark.createDataFrame([("p", 1, 1, 0)], CHANGES).coalesce(1)
    path, table = ensure_table(spark, table_path(settings, "t"), one.schema), Appends(settings, "t", "q")
    table.append(one, "w", 0)
    assert tasks_of(spark, lambda: table.append(one, "w", 1)) == 1
    assert tasks_of(spark, lambda: append_once(one, path, "w", 2)) > 1


def test_folding_leaves_the_sums_and_few_rows_and_files(chained: SparkSession, tmp_path: Path) -> None:
    path = ensure_table(chained, str(tmp_path / "t"), chained.createDataFrame([], CHANGES).schema)
    for batch_id in range(6):
        changes = [("p", 1, 1, 0), ("p", 2, 1, -1), ("q", 1, (-1) ** batch_id, 0)]
        append_once(chained.createDataFrame(changes, CHANGES), path, "w", batch_id)
    fold(chained, path, ["post_id", "minute"], "minute = 1")
    assert_rows(chained, path, ("p", 1, 6, 0), *[("p", 2, 1, -1)] * 6)
    drop(chained, path, "minute = 2")
    compact(chained, path)
    assert_rows(chained, path, ("p", 1, 6, 0))
    assert len(chained.read.format("delta").load(path).inputFiles()) == 1


def test_what_is_tidied_is_what_came_of_late_and_hours_that_are_over(chained: SparkSession, tmp_path: Path) -> None:
    path = ensure_table(chained, str(tmp_path / "t"), KEPT_PANES, ["judged_from"])
    now, minute = NOON + timedelta(minutes=50), timedelta(minutes=1)

    def add(judged_from: datetime, at: datetime) -> None:
        append(chained.createDataFrame([(judged_from, "p", at, 1, 0)], PANES).transform(as_kept), path)

    def panes() -> DataFrame:
        return chained.read.format("delta").load(path).where(F.col("judged_likes") > 0)

    add(NOON, NOON + 5 * minute)
    (earlier,) = panes().inputFiles()
    for _ in range(2):
        add(NOON, now - minute)
        add(NOON - 60 * minute, now - minute)
        add(NOON - 120 * minute, NOON - minute)  # of an hour that is over
        add(NOON - timedelta(days=2), NOON - timedelta(days=1, minutes=90))
    tidy(chained, path, now, now)
    found = sorted((row.judged_from.astimezone(timezone.utc), row.judged_likes) for row in panes().collect())
    over = NOON - 120 * minute
    assert found == [(over, 1), (over, 1), (NOON - 60 * minute, 2), (NOON, 1), (NOON, 2)]
    assert len(panes().where(F.col("judged_from") == over).inputFiles()) == 1
    assert earlier in panes().inputFiles()


def test_what_is_too_old_is_told_by_the_facts_where_the_clock_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = int((NOON - timedelta(minutes=70)).timestamp() * 1_000)
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits" / "0").write_text(f'v1\n{{"nextBatchWatermarkMs": {mark}}}')
    for clock, newest in ((timedelta(hours=4), NOON), (timedelta(minutes=-1), NOON - timedelta(minutes=1))):
        monkeypatch.setattr(trending_posts, "now", lambda clock=clock: NOON + clock)
        assert newest_fact(tmp_path) == newest


def tasks_of(spark: SparkSession, act: Callable[[], object]) -> int:
    """How many tasks Spark runs for it."""
    context, group = spark.sparkContext, uuid.uuid4().hex
    context.setJobGroup(group, "")
    try:
        act()
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
    context._jsc.sc().listenerBus().waitUntilEmpty()  # what the tracker knows comes from there
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(number) for number in tracker.getJobIdsForGroup(group)]
    stages = [tracker.getStageInfo(number) for job in jobs if job for number in job.stageIds]
    return sum(stage.numTasks for stage in stages if stage)


def test_a_small_table_is_tidied_in_few_tasks(spark: SparkSession, tmp_path: Path) -> None:
    path = ensure_table(spark, str(tmp_path / "t"), spark.createDataFrame([], CHANGES).schema)
    for batch_id in range(2):
        append_once(spark.createDataFrame([("p", 1, 1, 0)], CHANGES), path, "w", batch_id)
    assert 0 < tasks_of(spark, lambda: compact(spark, path)) < 500


def test_the_log_of_a_table_keeps_an_hour(spark: SparkSession, tmp_path: Path) -> None:
    settings, one = Settings(data_dir=tmp_path), spark.createDataFrame([("p", 1, 1, 0)], CHANGES).coalesce(1)
    path, table = ensure_table(spark, table_path(settings, "t"), one.schema), Appends(settings, "t", "q")
    for batch_id in range(COMPACT_EVERY + 2):
        table.append(one, "w", batch_id)
    log = Path(path) / "_delta_log"
    before = time.time() - 2 * 3_600
    for file in [*log.glob("*"), *log.glob(".*")]:
        if file.is_file() and (version := re.match(r"\.?0*(\d+)\.", file.name)) and int(version[1]) <= COMPACT_EVERY:
            os.utime(file, 2 * (before + int(version[1]),))
    compact(spark, path)
    left = sorted(int(file.stem) for file in log.glob("[0-9]*.json"))
    assert left[0] == COMPACT_EVERY  # the checkpoint that what is kept begins with
    assert not [*log.glob(f".{0:020}*"), *log.glob(f"{0:020}*")]
    Appends(settings, "t", "q").append(one, "w", COMPACT_EVERY + 1)
    assert len(rows(spark, path)) == COMPACT_EVERY + 2
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    assert len(rows(spark, path)) == COMPACT_EVERY + 2


def rows_read(found: DataFrame) -> int:
    """How many rows Spark takes out of files for it."""
    found.collect()
    leaves = found._jdf.queryExecution().executedPlan().collectLeaves()
    return sum(leaves.apply(at).metrics().apply("numOutputRows").value() for at in range(leaves.size()))


@pytest.mark.parametrize(("looked_up", "read"), [("post_id", 0), ("", 500)])
def test_a_file_without_what_is_looked_up_is_not_read(
    spark: SparkSession, tmp_path: Path, looked_up: str, read: int
) -> None:
    path = ensure_table(spark, str(tmp_path / "t"), spark.createDataFrame([], CHANGES).schema)
    posts = [f"p{n}" for n in range(500)]
    for batch_id, half in enumerate((posts[:250], posts[250:])):
        append_once(spark.createDataFrame([(post, 1, 1, 0) for post in half], CHANGES).coalesce(1), path, "w", batch_id)
    compact(spark, path, looked_up=looked_up)
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", "false")
    table = session.read.format("delta").load(path)
    absent = [f"p{n}x" for n in range(40)]  # between the smallest and the greatest
    assert rows_read(table.where(F.col("post_id").isin(absent))) == read
    assert rows_read(table.where(F.col("post_id").isin([*absent, "p7"]))) == 500
    assert table.where(F.col("post_id").isin([*absent, "p7"])).count() == 1


def garble_an_entry(table: Path) -> None:
    (table / "_delta_log" / f"{1:020}.json").write_text("{garbage")


def lose_a_file(table: Path) -> None:
    for file in table.glob("*.parquet"):
        file.unlink()


@pytest.mark.parametrize("damage", [garble_an_entry, lose_a_file])
def test_a_damaged_table_is_said_to_be_one(spark: SparkSession, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    one = spark.createDataFrame([("p", 1, 1, 0)], CHANGES)
    path = ensure_table(spark, str(tmp_path / "t"), one.schema)
    append_once(one, path, "w", 0)
    damage(tmp_path / "t")
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    with pytest.raises((PySparkException, Py4JJavaError)) as failure:
        rows(spark, path)
    assert "a table of the lake is damaged" in fix(str(failure.value))
    assert "\n" not in reason(failure.value)
    assert "An error occurred while" not in reason(failure.value)


def test_minutes_without_a_ranking_are_made_up_for_a_few_at_a_time(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for name, schema in ((tables.ENGAGEMENT_BY_MINUTE, KEPT_PANES), (tables.POST_FACTS, POST_FACTS)):
        ensure_table(spark, table_path(settings, name), schema)
    rankings = Rankings(spark, settings)

    def ends() -> list[int]:
        """Minutes before noon whose rankings are kept."""
        kept = spark.read.format("delta").load(table_path(settings, tables.TRENDING_POSTS))
        back = (F.lit(int(NOON.timestamp())) - F.unix_seconds("window_end")) / 60
        return sorted(int(row.back) for row in kept.select(back.alias("back")).collect())

    rankings.remember(spark, NOON - timedelta(minutes=8))
    assert ends() == [8]
    rankings.remember(spark, NOON - timedelta(minutes=4))
    assert ends() == [6, 7, 8]
    rankings.remember(spark, NOON - timedelta(minutes=4))
    assert ends() == [4, 5, 6, 7, 8]
    rankings.remember(spark, NOON - timedelta(minutes=4))
    assert ends() == [4, 5, 6, 7, 8]
    for _ in range(2):  # on the hour their files are joined
        rankings.remember(spark, NOON)
    assert ends() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert len(spark.read.format("delta").load(table_path(settings, tables.TRENDING_POSTS)).inputFiles()) == 1


def test_a_clock_that_was_ahead_keeps_no_later_minute_out(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for name, schema in ((tables.ENGAGEMENT_BY_MINUTE, KEPT_PANES), (tables.POST_FACTS, POST_FACTS)):
        ensure_table(spark, table_path(settings, name), schema)
    history = table_path(settings, tables.TRENDING_POSTS)
    Rankings(spark, settings).remember(spark, NOON.replace(year=2100))
    Rankings(spark, settings).remember(spark, NOON)
    kept = spark.read.format("delta").load(history).where("window_end < '2099-01-01'")
    assert [row.seconds for row in kept.select(F.unix_seconds("window_end").alias("seconds")).collect()] == [
        NOON.timestamp()
    ]


def test_a_minute_that_a_clock_was_ahead_of_is_ranked_anew_when_it_has_come(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    for name, schema in ((tables.ENGAGEMENT_BY_MINUTE, KEPT_PANES), (tables.POST_FACTS, POST_FACTS)):
        ensure_table(spark, table_path(settings, name), schema)
    later = NOON.replace(year=2100)
    for _ in range(2):
        Rankings(spark, settings).remember(spark, later)
    kept = spark.read.format("delta").load(table_path(settings, tables.TRENDING_POSTS))
    (ranked,) = kept.select(F.unix_seconds("window_end").alias("end"), "generated_at").collect()
    assert ranked.end == later.timestamp()
    Rankings(spark, settings).remember(spark, later + timedelta(seconds=1))
    (anew,) = kept.sparkSession.read.format("delta").load(table_path(settings, tables.TRENDING_POSTS)).collect()
    assert anew.generated_at > ranked.generated_at


def test_of_each_type_of_fact_of_a_post_the_first_is_kept(spark: SparkSession) -> None:
    facts = [
        ("post_created", "ada", 2),
        ("post_created", "ada", 1),
        ("post_deleted", "ada", 3),
        ("post_created", "bob", 4),
    ]
    rows = [
        {"event_type": kind, "user_id": user, "post_id": "p", "event_id": f"e{number}"}
        | {"occurred_at": f"2026-11-20T12:00:0{number}.000Z", "image_url": f"/{number}.jpg", "caption": ""}
        for kind, user, number in [*facts, *facts]
    ]
    posts = spark.createDataFrame(rows, POST_FACTS)
    kept = posts.transform(first_of_each)
    assert sorted((row.event_type, row.user_id, row.event_id, row.image_url) for row in kept.collect()) == [
        ("post_created", "ada", "e1", "/1.jpg"),
        ("post_created", "bob", "e4", "/4.jpg"),
        ("post_deleted", "ada", "e3", "/3.jpg"),
    ]
    assert (
        kept.select(*POST_FACTS.fieldNames()).transform(living_posts).collect()
        == posts.transform(living_posts).collect()
    )


def test_the_archive_has_each_record_as_it_came_by_the_day_on_which_it_arrived(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    keep = keep_events(spark, settings)
    facts = records(spark, [fact("post_liked", f"e{number}", "12:01", "bob") for number in range(3)])
    keep(facts, 0)
    kept = spark.read.format("delta").load(table_path(settings, tables.EVENTS))
    names = [name for name in EVENTS.fieldNames() if name not in ("arrived_at", "arrived_date")]
    assert_df_equality(kept.select(names), facts.select(names), ignore_row_order=True, ignore_nullable=True)
    arrived = NOON + timedelta(days=30)  # when these say, not when they are kept
    assert {(row.arrived_at.astimezone(timezone.utc), row.arrived_date) for row in kept.collect()} == {
        (arrived, arrived.date())
    }
