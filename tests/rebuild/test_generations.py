"""Two tellings side by side, and what a reader of the one takes from the other."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from contract import tables
from contract.results import TERM
from feeds.records import Record, post_change
from feeds.store import PostStore
from jobs import generations
from jobs.generations import Comparison, judge
from jobs.sinks.lake import append, ensure_table, table_path
from jobs.transforms.generations import compared, newest_posts, newest_term, replacements, settled, told_otherwise
from jobs.transforms.panes import as_kept
from jobs.trending_posts import PANES
from tests.jobs.histories import fact, records

pytestmark = pytest.mark.spark
SCHEMA = "key binary, value binary, partition int, offset long, headers array<struct<key string, value binary>>"
Said = tuple[str, dict[str, Any] | None, str | None]
"""A record: post, its row (None: a tombstone), what was seen."""


def row(likes: int, version: int) -> dict[str, Any]:
    times = dict.fromkeys(("created_at", "updated_at"), "2026-11-20T12:00:00.000Z")
    return {
        "user_id": "ada",
        "image_url": "/a.jpg",
        "caption": "x",
        "comments": 0,
        "likes": likes,
        "version": version,
    } | times


def topic(spark: SparkSession, *said: Said) -> DataFrame:
    rows = []
    for offset, (post_id, post, seen) in enumerate(said):
        value = None if post is None else json.dumps({"post_id": post_id, **post}).encode()
        headers = None if seen is None else [("seen", seen.encode())]
        rows.append((post_id.encode(), value, 0, offset, headers))
    return spark.createDataFrame(rows, SCHEMA)


def tellings(spark: SparkSession, live: list[Said], beside: list[Said]) -> DataFrame:
    return compared(*(topic(spark, *side).transform(newest_posts) for side in (live, beside)))


def verdicts(frame: DataFrame) -> dict[str, str | None]:
    return {row.post_id: row.verdict for row in frame.collect()}


def test_each_post_gets_the_verdict_that_it_deserves(spark: SparkSession) -> None:
    one, two = '{"likes":[0,1]}', '{"likes":[0,2]}'
    live: list[Said] = [
        ("same", row(3, 7), one), ("differs", row(3, 7), one), ("busy", row(3, 7), one), ("lost", row(3, 7), one),
        ("deleted", None, one), ("kept", row(1, 1), one), ("older", row(9, 9), one), ("older", row(1, 10), one),
        ("fresh", row(1, 1), one),
    ]  # fmt: skip
    beside: list[Said] = [
        ("same", row(3, 2), two), ("differs", row(2, 7), one), ("busy", row(4, 8), two), ("lost", None, one),
        ("deleted", row(1, 1), one), ("kept", row(1, 1), None), ("older", row(1, 3), one), ("early", row(1, 1), one),
    ]  # fmt: skip
    found = tellings(spark, live, beside)
    expected = {
        "same": "equal", "differs": "different", "busy": "moving", "lost": "missing", "deleted": "new",
        "kept": "equal", "older": "equal", "fresh": "not yet beside", "early": "not yet live",
    }  # fmt: skip
    assert verdicts(found) == expected
    last = verdicts(settled(found, "missing", "new"))
    assert last == expected | {"fresh": "missing", "early": "new"}


def test_a_post_that_is_deleted_on_both_sides_is_no_post(spark: SparkSession) -> None:
    live: list[Said] = [("gone", row(1, 1), None), ("gone", None, "{}"), ("long gone", None, None)]
    found = tellings(spark, live, [("gone", None, None), ("also gone", None, None)])
    assert set(verdicts(found).values()) == {None}
    assert judge(found) == Comparison()


def told_anew(found: DataFrame, wanted: str) -> dict[str, tuple[Any, ...]]:
    """What the topic gets: version (None: a tombstone) and `seen` of each post."""
    records = found.transform(told_otherwise).transform(replacements, wanted, 1).collect()
    return {
        bytes(one.key).decode(): (
            json.loads(one.value)["version"] - TERM if one.value is not None else None,
            None if one.headers is None else bytes(one.headers[0]["value"]).decode(),
        )
        for one in records
    }


def test_a_fact_that_changes_no_count_is_told_too(spark: SparkSession) -> None:
    old, new = '{"likes":[0,1]}', '{"likes":[0,2]}'
    live: list[Said] = [
        ("same", row(3, 7), old), ("of a term", row(3, TERM + 7), old), ("deleted on both", None, old),
        ("told again", row(3, 7), old), ("told again elsewhere", row(3, 7), old), ("liked after", None, old),
        ("without", row(3, 7), None), ("without, deleted", None, None), ("only live deleted", None, old),
    ]  # fmt: skip
    beside: list[Said] = [
        ("same", row(3, 7), old), ("of a term", row(3, 7), old), ("deleted on both", None, old),
        ("told again", row(3, 8), new), ("told again elsewhere", row(3, 8), old), ("liked after", None, new),
        ("without", row(3, 7), old), ("without, deleted", None, old), ("long deleted", None, old),
    ]  # fmt: skip
    found = tellings(spark, live, beside)
    assert set(verdicts(found).values()) == {"equal", None}
    told = {
        "told again": (8, new), "told again elsewhere": (8, old), "liked after": (None, new),
        "without": (7, old), "without, deleted": (None, old),
    }  # fmt: skip
    assert told_anew(found, "beside") == told
    back = {"told again": (7, old), "told again elsewhere": (7, old), "liked after": (None, old)}
    assert told_anew(found, "live") == {**told, **back}


def test_a_tombstone_of_what_the_other_side_alone_knows_says_which_facts_are_in(spark: SparkSession) -> None:
    seen = '{"likes":[0,1]}'
    found = tellings(spark, [("lost", row(3, 7), seen)], [("new", row(3, 7), seen)])
    assert told_anew(found, "beside") == {"lost": (None, seen), "new": (7, seen)}
    assert told_anew(found, "live") == {"lost": (7, seen), "new": (None, seen)}


def test_garbage_in_a_topic_is_no_telling(spark: SparkSession) -> None:
    good = topic(spark, ("p", row(1, 5 * TERM + 1), "{}"))
    bad = [(None, b"x"), (b"p", b"{"), (b"p", b"\xff"), (b"other", json.dumps({"post_id": "p"}).encode())]
    garbage = spark.createDataFrame([(key, value, 0, 9 + at, None) for at, (key, value) in enumerate(bad)], SCHEMA)
    posts = good.union(garbage).transform(newest_posts).collect()
    assert [(one.post_id, one.post.likes) for one in posts] == [("p", 1)]
    assert newest_term(good.union(garbage)) == 5


class Reader:
    """A feed's own view of what is written to the contract's topic."""

    def __init__(self, store: PostStore) -> None:
        self._store, self._next = store, 0

    def read(self, frame: DataFrame) -> None:
        for one in frame.collect():
            seen = None if one.headers is None else bytes(one.headers[0]["value"])
            value = None if one.value is None else bytes(one.value)
            change = post_change(Record("posts_with_counts", 0, self._next, bytes(one.key), value, seen))
            self._next += 1
            self._store.apply([change], {("posts_with_counts", 0): self._next})

    def likes(self) -> dict[str, int]:
        posts = [json.loads(body) for body in self._store.page(100, None).bodies]
        return {post["post_id"]: post["likes"] for post in posts}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with closing(PostStore(tmp_path / "view.sqlite")) as store:
        yield Reader(store)


def test_a_reader_takes_what_is_switched_to_and_what_is_rolled_back_to_and_no_row_of_the_one_before(
    spark: SparkSession, reader: Reader
) -> None:
    seen = '{"likes":[0,5]}'
    old: list[Said] = [("counted", row(9, 12), seen), ("gone", row(1, 3), seen), ("same", row(4, 4), seen)]
    # The same number of records and other numbers; fewer records; a post that is gone; one that is back.
    new: list[Said] = [("counted", row(8, 12), seen), ("gone", None, seen), ("same", row(4, 2), seen)]
    new += [("back", row(2, 1), seen)]
    reader.read(topic(spark, *old, ("back", row(2, 9), seen), ("back", None, seen)))
    differing = tellings(spark, [*old, ("back", None, seen)], new).where("verdict <> 'equal'")

    reader.read(differing.transform(replacements, "beside", 1))
    assert reader.likes() == {"counted": 8, "same": 4, "back": 2}
    reader.read(topic(spark, ("counted", row(10, 13), seen), ("gone", row(1, 4), seen)))
    assert reader.likes()["counted"] == 8

    reader.read(differing.transform(replacements, "live", 2))
    assert reader.likes() == {"counted": 9, "gone": 1, "same": 4}
    reader.read(topic(spark, ("counted", row(7, TERM + 13), seen)))
    assert reader.likes()["counted"] == 9
    reader.read(topic(spark, ("counted", row(10, 2 * TERM + 13), seen)))
    assert reader.likes()["counted"] == 10


def test_a_build_that_is_interrupted_and_begun_again_has_the_archived_posts_of_both(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, beside=True)
    made = [fact("post_created", f"e-{post}", "12:00", "ada", post) for post in ("p1", "p2")]
    for archived in (made[:1], made):
        monkeypatch.setattr(generations, "_only_archived", lambda *_, archived=archived: records(spark, archived))
        generations.keep_archived_posts(spark, settings, {}, settings)
    there = spark.read.format("delta").load(table_path(settings, tables.POST_FACTS))
    assert {row.post_id for row in there.collect()} == {"p1", "p2"}


def test_panes_of_a_version_before_are_compared_too(spark: SparkSession, tmp_path: Path) -> None:
    live, new = (Settings(data_dir=tmp_path / side) for side in ("live", "new"))
    moment = datetime(2026, 11, 20, 12, 30, tzinfo=timezone.utc)
    judged_from = moment.replace(hour=11, minute=0)
    minutes = [moment - timedelta(minutes=back) for back in (1, 40)]  # of the window's second hour, and of its first
    of_before = spark.createDataFrame([(judged_from, "p", minute, 2, 0) for minute in minutes], PANES)
    for settings, panes in ((live, of_before), (new, as_kept(of_before))):
        append(panes, ensure_table(spark, table_path(settings, tables.ENGAGEMENT_BY_MINUTE), panes.schema))
    assert generations.differing_minutes(spark, live, new, moment).isEmpty()
    more = spark.createDataFrame([(judged_from, "p", minutes[0], 1, 0)], PANES).transform(as_kept)
    append(more, table_path(new, tables.ENGAGEMENT_BY_MINUTE))
    (differing,) = generations.differing_minutes(spark, live, new, moment).collect()
    assert (differing.post_id, differing.likes) == ("p", -1)
