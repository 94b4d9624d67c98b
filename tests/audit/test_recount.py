"""Both recounts are what the rules say, as of whatever is published; the archive is whole, or it is said how not."""

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from audit import archive, recount
from audit.published import CUT, SEEN, as_read, topic_rows
from tests import reference
from tests.jobs.histories import NOON, Fact, fact, histories, hostile, is_lively, records, together
from tests.jobs.test_facts import ARRIVED, CREATED, HOSTILE, Record, mutated
from tests.reference_records import judge

pytestmark = pytest.mark.spark
Folder = Callable[[], Path]
TARGETS = f"post_id string, seen struct<{SEEN.replace(' ', ':').replace(',:', ',')}>"


def archived(frame: DataFrame) -> DataFrame:
    return frame.withColumnRenamed("timestamp", "arrived_at")


def cut_at(spark: SparkSession, following: int) -> DataFrame:
    return spark.createDataFrame([(topic, 0, following) for topic in ("posts", "likes", "comments")], CUT)


def no_targets(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "post_id string, seen map<string, array<bigint>>")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where a recount keeps what it makes of the records; another one each time."""
    return lambda: Path(tempfile.mkdtemp(dir=tmp_path))


def by_statement(frame: DataFrame, targets: DataFrame, cut: DataFrame, folder: Path) -> DataFrame:
    recount.judge_by_statement(archived(frame), folder)
    return recount.by_statement(targets, cut)


def both(spark: SparkSession, history: list[Fact], targets: DataFrame, following: int, folder: Path) -> list[list[Row]]:
    """What both recounts say of the living posts."""
    frame, cut = records(spark, history), cut_at(spark, following)
    known = recount.judge_by_transforms(archived(frame), folder)
    said = [by_statement(frame, targets, cut, folder), recount.by_transforms(known, targets, cut)]
    return [one.where("alive").orderBy("post_id").select("post_id", "said", "seen").collect() for one in said]


MANY = st.lists(histories(min_size=10, max_size=60), min_size=12, max_size=16).map(together).filter(is_lively)


@hostile(1)
@given(history=MANY)
def test_both_recounts_are_what_the_rules_say(spark: SparkSession, folder: Folder, history: list[Fact]) -> None:
    statement, transforms = both(spark, history, no_targets(spark), len(history), folder())
    assert statement == transforms
    assert {row.post_id: reference.Post.of(row.said) for row in statement} == reference.posts_with_counts(history)


@pytest.mark.parametrize("second", ["post_unliked", "post_liked"])
def test_of_two_facts_that_say_they_are_one_the_like_rules(spark: SparkSession, folder: Folder, second: str) -> None:
    """No producer should: two records with one event_id and one time that differ."""
    first = "post_liked" if second == "post_unliked" else "post_unliked"
    history = [fact("post_created", "e0", NOON, "ada"), fact(first, "e1", NOON, "bob"), fact(second, "e1", NOON, "bob")]
    statement, transforms = both(spark, history, no_targets(spark), len(history), folder())
    assert statement == transforms
    assert [row.said.likes for row in statement] == [1]


def test_a_topic_and_a_table_without_a_row_are_read(spark: SparkSession) -> None:
    headers = "headers array<struct<key: string, value: binary>>"
    nothing = spark.createDataFrame(
        [], f"key binary, value binary, {headers}, timestamp timestamp, partition int, offset bigint"
    )
    assert as_read(topic_rows(nothing), {"topic": {}, "at_table": {}}).collect() == []


@hostile(1)
@given(data=st.data())
def test_a_row_is_recounted_as_of_what_went_into_it(spark: SparkSession, folder: Folder, data: st.DataObject) -> None:
    history = data.draw(MANY)
    published = history[: data.draw(st.integers(len(history) // 4, len(history)))]
    rows = both(spark, published, no_targets(spark), len(published), folder())[0]
    targets = spark.createDataFrame([(row.post_id, row.seen) for row in rows], TARGETS)
    pairs = [part for topic in ("posts", "likes", "comments") for part in (F.lit(topic), F.col(f"seen.{topic}"))]
    wanted = targets.select("post_id", F.create_map(*pairs).alias("seen"))
    # Nothing is below the cut, so that only what is published is looked at.
    assert both(spark, history, wanted, 0, folder()) == [rows, rows]


def test_each_record_is_in_one_sum(spark: SparkSession, tmp_path: Path) -> None:
    history = [
        fact("post_liked", "e1", "12:00", "bob"),
        fact("post_liked", "e1", "12:00", "bob"),
        fact("post_unliked", "e2", "12:01", "bob"),
        fact("post_liked", "e3", "12:02", "cy"),
        fact("post_liked", "e4", "12:03", "cy"),
    ]
    found = by_statement(records(spark, history), no_targets(spark), cut_at(spark, 4), tmp_path).first()
    assert found is not None
    assert (found.counted, found.superseded, found.waiting) == (2, 2, 1)


def test_a_fact_that_the_job_has_passed_and_the_row_has_not_is_missed(spark: SparkSession, tmp_path: Path) -> None:
    frame = records(spark, [fact("post_liked", f"of-{user}", "12:00", user) for user in ("bob", "cy", "di")])
    seen = spark.createDataFrame([("p1", {"likes": [0, 0]})], "post_id string, seen map<string, array<bigint>>")
    found = by_statement(frame, seen, cut_at(spark, 2), tmp_path).first()
    assert found is not None
    assert (found.missed, found.waiting, found.said["likes"]) == (1, 2, 1)


def test_a_field_that_a_type_does_not_have_makes_no_other_pair(spark: SparkSession, tmp_path: Path) -> None:
    likes = [fact("post_liked", "e1", "12:00"), fact("post_liked", "e2", "12:01", comment_id="c1")]
    found = by_statement(records(spark, likes), *everything(spark), tmp_path).first()
    assert found is not None
    assert (found.said["likes"], found.counted, found.superseded) == (1, 1, 1)


def everything(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    return no_targets(spark), cut_at(spark, 9)


def judged(spark: SparkSession, given_records: list[Record], folder: Path) -> list[str | None]:
    rows = [(topic, 0, at, ARRIVED, None, value) for at, (topic, value) in enumerate(given_records)]
    schema = "topic string, partition int, offset long, arrived_at timestamp, key binary, value binary"
    recount.judge_by_statement(spark.createDataFrame(rows, schema), folder)
    return [row.reason for row in spark.table("judged").orderBy("offset").collect()]


def test_the_statement_judges_each_hostile_record(spark: SparkSession, tmp_path: Path) -> None:
    found = judged(spark, [record for _, record, _ in HOSTILE], tmp_path)
    wrong = [(name, said) for (name, _, reason), said in zip(HOSTILE, found, strict=True) if said != reason]
    assert wrong == []


def test_half_a_pair_of_surrogates_is_still_json(spark: SparkSession, tmp_path: Path) -> None:
    values = [rb"\ud937", rb"\udd13", rb"a\ud937\ud937b", rb"\ud83d\ude00", rb"\\ud937", rb"\\\ud937"]
    created = json.dumps({**CREATED, "caption": "@"}).encode()
    records = [("posts", created.replace(b"@", value)) for value in values]
    assert judged(spark, records, tmp_path) == [None] * len(values)
    captions = [row.caption for row in spark.table("judged").orderBy("offset").collect()]
    assert captions == ["?", "?", "a??b", "😀", r"\ud937", "\\?"]


@hostile(4)
@given(hostile=st.lists(mutated(), min_size=40, max_size=60))
def test_the_statement_judges_any_record_as_the_contract_says(
    spark: SparkSession, folder: Folder, hostile: list[Record]
) -> None:
    expected = [judge(topic, value, ARRIVED) for topic, value in hostile]
    found = judged(spark, hostile, folder())
    assert [pair for pair in zip(hostile, found, expected, strict=True) if pair[1] != pair[2]] == []


def damages(
    spark: SparkSession, *offsets: int, reached: int = 6, first: int = 0, erased: Sequence[int] = ()
) -> list[str]:
    rows = [("likes", 0, offset) for offset in offsets]
    frame = spark.createDataFrame(rows, "topic string, partition int, offset bigint")
    gone = places(spark, erased)
    count, said = archive.damages(frame, {"likes": {0: first}}, {"likes": {0: reached}}, gone)
    assert count == len(offsets)
    return said


def places(spark: SparkSession, offsets: Sequence[int]) -> DataFrame:
    rows = [("likes", 0, offset, None) for offset in offsets]
    return spark.createDataFrame(rows, "topic string, partition int, offset bigint, post_id string")


def test_a_whole_archive_is_not_damaged(spark: SparkSession) -> None:
    assert damages(spark, 0, 1, 2, 3, 4, 5) == []
    assert damages(spark, 0, 1, 2, 3, 4, 5, first=3) == []  # it keeps what Kafka has let go


def test_what_was_erased_is_no_damage_and_nothing_else_is_excused(spark: SparkSession) -> None:
    assert damages(spark, 0, 1, 3, 5, erased=[2, 4, 4]) == []
    assert damages(spark, 0, 1, 2, 3, 5, erased=[2, 4]) == []  # a killed erasure noted it, and did not remove it
    assert damages(spark, 0, 1, 5, erased=[2, 4]) == ["likes, partition 0: the archive has 5 records of the 6 offsets"]


@pytest.mark.parametrize(
    ("offsets", "sentence"),
    [
        ((0, 1, 3, 4, 5), "the archive has 5 records of the 6 offsets"),
        ((0, 1, 2, 2, 3, 4, 5), "the archive has 7 records of the 6 offsets"),
        ((0, 1, 1, 3, 4, 5), "the archive has some record twice, and misses another"),
        ((0, 2, 2, 2, 4, 5), "the archive has some record twice, and misses another"),  # also the sum is the same
        ((1, 2, 3, 4, 5), "the archive begins at 1, Kafka at 0"),
        ((0, 1, 2, 3, 4), "the archive ends before 5, its job is at 6"),
        ((), "the archive has none of 6 records"),
    ],
)
def test_a_record_missing_or_doubled_is_damage(spark: SparkSession, offsets: tuple[int, ...], sentence: str) -> None:
    assert damages(spark, *offsets) == [f"likes, partition 0: {sentence}"]


def letter(at: int, reason: str, detail: str = "") -> bytes:
    said = {"reason": reason, "detail": detail, "topic": "likes", "partition": 0, "offset": at}
    return json.dumps(said).encode()


def letter_drift(
    spark: SparkSession,
    letters: list[bytes],
    dead: list[tuple[int, str]],
    erased: Sequence[int] = (),
    kept_since: datetime = ARRIVED,
) -> dict[int | None, Row]:
    place = "topic string, partition int, offset bigint, "
    written = spark.createDataFrame([(None, value) for value in letters], "key binary, value binary")
    times = archive.letters(written)
    rows = [("likes", 0, at, ARRIVED, reason) for at, reason in dead]
    wanted = spark.createDataFrame(rows, place + "arrived_at timestamp, reason string")
    return {
        row.offset: row
        for row in archive.letter_drift(wanted, times, cut_at(spark, 9), places(spark, erased), kept_since).collect()
    }


def test_a_dead_letter_missing_foreign_wrong_or_twice_with_other_words_is_drift(spark: SparkSession) -> None:
    dead = [(1, "not_json"), (2, "not_json"), (3, "bad_field"), (4, "not_json"), (12, "not_json")]
    letters = [letter(at, "not_json") for at in (1, 2, 3, 7, 11)] + [letter(2, "not_json", "at 3")]
    found = letter_drift(spark, letters, dead)
    assert sorted(at for at in found if at is not None) == [2, 3, 4, 7]
    assert (found[2].times, found[4].times) == (2, None)
    assert (found[3].reason, found[3].said, found[7].reason) == ("bad_field", "not_json", None)


def test_a_dead_letter_that_was_written_again_is_one(spark: SparkSession) -> None:
    assert letter_drift(spark, [letter(1, "not_json")] * 2, [(1, "not_json")]) == {}


def test_what_is_no_dead_letter_in_their_topic_is_drift(spark: SparkSession) -> None:
    assert list(letter_drift(spark, [b"hello"], [])) == [None]


def test_a_letter_whose_time_is_over_may_be_gone_and_one_that_is_there_must_be_right(spark: SparkSession) -> None:
    dead, letters = [(1, "not_json"), (2, "not_json")], [letter(2, "bad_field")]
    later = ARRIVED + timedelta(milliseconds=1)
    assert sorted(letter_drift(spark, letters, dead, kept_since=ARRIVED)) == [1, 2]
    assert sorted(letter_drift(spark, letters, dead, kept_since=later)) == [2]


def test_a_letter_of_what_was_erased_may_stay(spark: SparkSession) -> None:
    letters = [letter(at, "not_json") for at in (1, 2)]
    assert letter_drift(spark, letters, [(2, "not_json")], erased=[1]) == {}
    assert letter_drift(spark, letters, [(at, "not_json") for at in (1, 2)], erased=[1]) == {}  # the topic has it still
