"""One audit: recounts all archived facts and compares with what is published; writes a report as JSON.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf audit/job.py report.json [--from kafka] [--turn N]

With `--turn` it judges one part of the posts where there are many facts: the N-th turn has the N-th part.

Exit code 0: no drift, 1: drift, 2: nothing could be said, and why.
"""

import argparse
import math
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import structlog
from kafka.errors import KafkaError
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from audit import archive, compare, feed, offsets, published, rankings, recount, sources
from audit.offsets import CannotAuditError
from audit.part import WHOLE, Part
from audit.report import NOTHING_SAID, SHOWN, Report
from conf.settings import Settings, load_settings
from conf.store import checkpoints, complaint, session_conf, write_whole
from contract import tables
from contract.facts import FACT_TOPICS, format_time
from contract.principals import AUDITOR
from contract.topics import DEAD_LETTERS, POSTS_WITH_COUNTS, TOPIC_BY_NAME
from jobs.checkpoints import PROJECTED
from jobs.harness import reason
from jobs.offsets import Offsets, lacking
from jobs.realtime import is_real_time

PARTITIONS, RECORDS_A_TASK = 8, 500_000
RECOUNTS = ("transforms", "statement")
log = structlog.get_logger()
LEFT_BEHIND_SECONDS = 12 * 60 * 60
ARCHIVE_SECONDS = 90.0
"""How long the archive may be behind without coming nearer."""
UNDER_WAY = timedelta(seconds=15)
"""As long as a row may be on its way in real time: three shuffles, a commit of state, a collector's pause."""
RECENT = timedelta(minutes=1)
"""How much older a row may be than that to stand for its post."""


@dataclass(frozen=True)
class Published:
    """What is published, frozen: read in the order feed, table, topic, so that each is in the next."""

    cut: Offsets  # the counts job has passed all below
    most: Offsets  # no fact above is in any row
    topic: DataFrame
    newer: DataFrame  # what came to the topic while that was read
    bounds: dict[str, Offsets]
    table: DataFrame
    feed: DataFrame | None
    settled_at: datetime | None  # rows from then on may lack what they say they have

    def of(self, part: Part) -> "Published":
        """What is published of the posts of the part."""
        is_in = part.has(F.col("post_id"))
        topic, newer, table = (frame.where(is_in) for frame in (self.topic, self.newer, self.table))
        feed = None if self.feed is None else self.feed.where(is_in)
        return replace(self, topic=topic, newer=newer, table=table, feed=feed)


def freeze(spark: SparkSession, settings: Settings, folder: Path) -> Published:
    """What everybody says, one after the other."""
    checkpoint = checkpoints(settings) / POSTS_WITH_COUNTS
    cut = offsets.committed(checkpoint)
    if not cut:
        raise CannotAuditError(f"the counts job has done nothing in {checkpoint}: make up, or set MSM_DATA_DIR")
    first, at_feed = offsets.in_kafka(settings, POSTS_WITH_COUNTS)
    pages = _feed(spark, settings, folder)
    found = offsets.table(settings, tables.POSTS_WITH_COUNTS)
    at_table = offsets.held(found, checkpoints(settings) / PROJECTED, "posts")
    moment = datetime.now(timezone.utc)
    _, end = offsets.in_kafka(settings, POSTS_WITH_COUNTS)
    _, most = offsets.in_kafka(settings, *FACT_TOPICS)  # in real time rows leave before their offsets are written down
    rows = _topic(spark, settings, first, end, folder / "topic")
    # Only now: compaction takes a row because of a newer one, which is below this end.
    _, newest = offsets.in_kafka(settings, POSTS_WITH_COUNTS)
    newer = _topic(spark, settings, end, newest, folder / "newer")
    version = sources.version(spark, settings, tables.POSTS_WITH_COUNTS, found.version())
    in_table = recount.kept(published.table_rows(version), folder / "table")
    bounds = {"topic": end, "at_table": at_table, "at_feed": at_feed}
    settled_at = moment - UNDER_WAY if is_real_time(settings) else None
    return Published(cut, most, rows, newer, bounds, in_table, pages, settled_at)


def _topic(spark: SparkSession, settings: Settings, first: Offsets, end: Offsets, path: Path) -> DataFrame:
    return recount.kept(published.topic_rows(sources.from_topics(spark, settings, first, end)), path)


def _feed(spark: SparkSession, settings: Settings, folder: Path) -> DataFrame | None:
    url = _url(settings, settings.http_host)
    asked = time.time()
    if not feed.answers(url):
        return None
    feed.keep_pages(url, folder / "feed.jsonl", asked)
    return sources.feed_pages(spark, folder / "feed.jsonl")


def _url(settings: Settings, host: str) -> str:
    return f"http://{host}:{settings.http_port}"


def facts_up_to(
    spark: SparkSession, settings: Settings, most: Offsets, from_kafka: bool
) -> tuple[DataFrame, Offsets, Offsets]:
    """Every record, at least all below `most`; how far they go, and below what the archive has judged them."""
    least, deadline = math.inf, 0.0
    while True:
        found = offsets.table(settings, tables.EVENTS)
        archived = offsets.held(found, checkpoints(settings) / tables.EVENTS, "events")
        if from_kafka:
            return *sources.facts_of_kafka(spark, settings), archived
        behind = lacking(archived, most)
        if not behind:
            return sources.archived(spark, settings, found), archived, archived
        if behind < least:
            least, deadline = behind, time.monotonic() + ARCHIVE_SECONDS
        elif time.monotonic() > deadline:
            raise CannotAuditError(f"the archive is {behind:,} records behind the counts: wait, or use --from kafka")
        time.sleep(1)


def audit(spark: SparkSession, settings: Settings, from_kafka: bool, turn: int | None = None) -> Report:
    """All of it, or the part whose `turn` it is; CannotAuditError where something is not there."""
    if wrong := complaint(settings):
        raise CannotAuditError(wrong)
    spark.conf.set("spark.sql.shuffle.partitions", PARTITIONS)
    began = time.monotonic()
    report = Report(format_time(datetime.now(timezone.utc)), "kafka" if from_kafka else "the archive")
    work = settings.data_dir / "audit"
    work.mkdir(parents=True, exist_ok=True)
    sweep(work)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        log.info("reading what is published")
        now = freeze(spark, settings, folder)
        found, answered = rankings.with_answers(settings, _url(settings, settings.trending_host or settings.http_host))
        ranked = rankings.judgeable(found)
        most = offsets.furthest(now.most, *(one.needed for one in ranked))
        records, reached, lettered = facts_up_to(spark, settings, most, from_kafka)
        erased = sources.erased(spark, settings)
        report.compared = ["the topic", "the table", *(["the feed"] if now.feed is not None else [])]
        log.info("is the archive whole?")
        _judge_archive(report, records, reached, settings, erased)
        part = WHOLE if turn is None else Part.at(turn, report.archived)
        report.part, report.parts = part.number, part.of
        log.info("recounting", records=report.archived, part=part.number, of=part.of)
        spark.conf.set("spark.sql.shuffle.partitions", max(PARTITIONS, report.archived // part.of // RECORDS_A_TASK))
        letters = recount.kept(_letters(spark, settings), folder / "letters")
        if not part.is_whole:
            records = recount.kept(part.chosen(records, letters), folder / "chosen")
        recount.judge_by_statement(records, folder, part)
        known = recount.judge_by_transforms(records, folder).where(part.has(F.col("post_id")))
        _judge_posts(report, now.of(part), known, erased, folder)
        log.info("recounting the rankings")
        report.rankings = rankings.drift(known, settings, ranked, part) + rankings.feed_drift(found, answered)
        report.compared += [*(one.board for one in ranked), *(["the feed of rankings"] if answered else [])]
        log.info("comparing dead letters")
        _judge_letters(report, letters, lettered, erased, folder)
        report.records = report.archived if part.is_whole else recount.judged_records(spark)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def sweep(work: Path) -> None:
    """Remove what audits that were killed left behind; one that runs is never that old."""
    for folder in work.glob("tmp*"):
        if time.time() - folder.stat().st_mtime > LEFT_BEHIND_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _judge_archive(report: Report, records: DataFrame, reached: Offsets, settings: Settings, erased: DataFrame) -> None:
    first, _ = offsets.in_kafka(settings, *FACT_TOPICS)
    report.archived, report.archive = archive.damages(records, first, reached, erased)


def _judge_posts(report: Report, now: Published, known: DataFrame, erased: DataFrame, folder: Path) -> None:
    cut = published.cut_frame(known.sparkSession, now.cut)
    read = _with_judged(published.as_read(now.topic, now.bounds), now, cut, erased, folder)
    targets = read.where("judged IS NOT NULL").select("post_id", published.seen_map(F.col("judged.seen")).alias("seen"))
    statement = recount.by_statement(targets, cut)
    transforms = recount.by_transforms(known, targets, cut)
    answered = None if now.feed is None else with_later(now.feed, now.topic, now.bounds["at_feed"])
    wide = compare.side_by_side(read, transforms, statement, now.table, answered, erased, now.newer)
    _sum_up(report, recount.kept(wide, folder / "wide"))


def _with_judged(read: DataFrame, now: Published, cut: DataFrame, erased: DataFrame, folder: Path) -> DataFrame:
    """What was read with the row that is to be `judged` of each post, and whether it `is_young`.

    In real time the newest row may lack what it says it has; then it is the newest one that does not, but no old one:
    what was lost since would be passed over. Of a post that had something erased nobody knows how many facts it has.
    """
    read = recount.kept(read, folder / "read")
    if now.settled_at is None:
        return read.select("*", F.col("topic").alias("judged"), F.lit(False).alias("is_young"))
    is_young = F.col("topic.place.timestamp") >= F.lit(now.settled_at)
    living = read.where(is_young & F.col("topic.said").isNotNull()).select("post_id")
    young = living.join(erased.select("post_id"), "post_id", "left_anti")
    is_recent = F.col("place.timestamp") >= F.lit(now.settled_at - RECENT)
    rows = now.topic.where(is_recent).join(young, "post_id", "left_semi")
    facts = read.sparkSession.table("judged").where("reason IS NULL").join(young, "post_id", "left_semi")
    judged = F.col("judged")
    found = read.join(published.judged_rows(rows, facts, cut), "post_id", "left").withColumns(
        {"is_young": is_young & judged.isNull(), "judged": F.coalesce(judged, "topic")}
    )
    return recount.kept(found, folder / "read_and_judged")


def with_later(answers: DataFrame, rows: DataFrame, asked: Offsets) -> DataFrame:
    """The feed's posts (post_id, said, feed_later): whether the topic has just that row since one asked, at `asked`."""
    later = rows.where(~published.is_below(asked)).select("post_id", "said")
    same = later.join(answers, ["post_id", "said"], "left_semi").distinct()
    return answers.join(same.withColumn("feed_later", F.lit(True)), ["post_id", "said"], "left")


def _sum_up(report: Report, wide: DataFrame) -> None:
    differs = F.size("why") > 0
    sums = wide.agg(
        F.coalesce(F.sum("counted"), F.lit(0)).alias("counted"),
        F.coalesce(F.sum("superseded"), F.lit(0)).alias("superseded"),
        F.coalesce(F.sum("waiting"), F.lit(0)).alias("waiting"),
        F.count_if(F.col("topic.said").isNotNull()).alias("posts"),
        F.count_if("is_unsettled").alias("unsettled"),
        F.count_if(differs).alias("drift_posts"),
    ).first()
    assert sums is not None
    for name, value in sums.asDict().items():
        setattr(report, name, value)
    says = [F.col("shown").alias("topic"), *(F.col(f"{name}.said").alias(name) for name in RECOUNTS)]
    first = wide.where(differs).orderBy("post_id").limit(SHOWN).select("post_id", *says, "table", "feed", "why")
    report.first = [row.asDict(recursive=True) for row in first.collect()]


def _letters(spark: SparkSession, settings: Settings) -> DataFrame:
    first, following = offsets.in_kafka(settings, DEAD_LETTERS)
    return archive.letters(sources.from_topics(spark, settings, first, following))


def _judge_letters(report: Report, written: DataFrame, lettered: Offsets, erased: DataFrame, folder: Path) -> None:
    spark = erased.sparkSession
    dead = spark.table("judged").where("reason IS NOT NULL").select(*archive.PLACE, "arrived_at", "reason")
    cut = published.cut_frame(spark, lettered)
    retention = timedelta(milliseconds=int(TOPIC_BY_NAME[DEAD_LETTERS].config["retention.ms"]))
    kept_since = datetime.now(timezone.utc) - retention
    drift = recount.kept(archive.letter_drift(dead, written, cut, erased, kept_since), folder / "wrong_letters")
    report.dead, report.drift_letters = dead.count(), drift.count()
    shown = drift.orderBy("topic", "partition", "offset").limit(SHOWN)
    report.first_letters = [row.asDict() for row in shown.collect()]


def main() -> int:
    """Audit and write the report; the exit code."""
    parser = argparse.ArgumentParser(description="One audit of the stack of the settings.")
    parser.add_argument("report", type=Path)
    parser.add_argument("--turn", type=int)
    parser.add_argument("--from", dest="source", choices=("archive", "kafka"), default="archive")
    chosen = parser.parse_args()
    settings = load_settings().acting_as(AUDITOR)
    spark = SparkSession.builder.appName("audit").config(map=session_conf(settings)).getOrCreate()
    try:
        found = audit(spark, settings, chosen.source == "kafka", chosen.turn).as_json()
        code = 1 if found["drift"] else 0
    except CannotAuditError as error:
        found, code = {"error": str(error)}, NOTHING_SAID
    except (KafkaError, PySparkException, Py4JError, OSError) as error:
        log.exception("the audit broke off")
        found, code = {"error": f"the audit broke off: {reason(error)}"}, NOTHING_SAID
    finally:
        spark.stop()
    write_whole(chosen.report, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
