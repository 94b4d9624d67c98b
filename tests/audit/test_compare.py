"""What the feed answers is the newest row of when it was asked, or a later one; a post on its way is judged later."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from audit import compare, job, published
from conf.settings import Settings
from jobs.offsets import Offsets

pytestmark = pytest.mark.spark
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
KAFKA = (
    "key binary, value binary, headers array<struct<key: string, value: binary>>, timestamp timestamp, "
    "partition int, offset bigint"
)
SAID = (
    "struct<user_id: string, image_url: string, caption: string, created_at: string, likes: bigint, comments: bigint, "
    "updated_at: string, version: bigint>"
)
SEEN = "struct<posts: array<bigint>, likes: array<bigint>, comments: array<bigint>>"
TRANSFORMS = f"post_id string, alive boolean, said {SAID}, seen {SEEN}"
STATEMENT = f"{TRANSFORMS}, counted bigint, superseded bigint, waiting bigint, missed bigint, unsettled bigint"
NOT_THE_FEED = "the feed's answer is not the topic's row"
Versions = Sequence[int | None]


@dataclass(frozen=True)
class Case:
    """A post, in a partition of its own: rows of the topic, None a tombstone; where they stand is their offset.

    The feed was asked when there were so many rows, and answered with that version. `alive`: the version that the
    recounts make; `newer`: rows that came while the topic was read.
    """

    name: str
    rows: Versions
    asked: int
    answer: int | None
    alive: int | None = None
    newer: Versions = ()


def said(version: int) -> dict[str, Any]:
    texts = dict.fromkeys(("user_id", "image_url", "caption", "created_at", "updated_at"), "")
    return {**texts, "likes": version, "comments": 0, "version": version}


def records(partition: int, post_id: str, versions: Versions, first: int) -> list[tuple[Any, ...]]:
    bodies = [version and json.dumps({"post_id": post_id, **said(version)}).encode() for version in versions]
    return [
        (post_id.encode(), body, [("seen", b"{}")], NOON + timedelta(seconds=offset), partition, offset)
        for offset, body in enumerate(bodies, first)
    ]


def compared(spark: SparkSession, cases: Sequence[Case]) -> dict[str, Row]:
    """What the audit says of each, by its name."""
    old = [row for at, one in enumerate(cases) for row in records(at, one.name, one.rows, 0)]
    new = [row for at, one in enumerate(cases) for row in records(at, one.name, one.newer, len(one.rows))]
    topic, newer = (published.topic_rows(spark.createDataFrame(rows, KAFKA)) for rows in (old, new))
    asked, end = ({at: bound for at, bound in enumerate(bounds)} for bounds in zip(*ends(cases), strict=True))
    bounds: dict[str, Offsets] = {"topic": {"t": end}, "at_table": {"t": asked}, "at_feed": {"t": asked}}
    answers = [(one.name, said(one.answer)) for one in cases if one.answer]
    recount = [(one.name, True, said(one.alive), None) for one in cases if one.alive]
    found = compare.side_by_side(
        published.as_read(topic, bounds).select("*", F.col("topic").alias("judged"), F.lit(False).alias("is_young")),
        spark.createDataFrame(recount, TRANSFORMS),
        spark.createDataFrame([(*row, 1, 0, 0, 0, 0) for row in recount], STATEMENT),
        None,
        job.with_later(spark.createDataFrame(answers, f"post_id string, said {SAID}"), topic, bounds["at_feed"]),
        spark.createDataFrame([], "post_id string"),
        newer,
    )
    return {row["post_id"]: row for row in found.collect()}


def ends(cases: Sequence[Case]) -> list[tuple[int, int]]:
    return [(one.asked, len(one.rows)) for one in cases]


def not_the_feed(spark: SparkSession, cases: Sequence[Case]) -> list[str]:
    """Those whose answer is drift."""
    return [name for name, row in compared(spark, cases).items() if NOT_THE_FEED in row["why"]]


def test_the_feed_may_answer_the_newest_row_or_one_that_came_while_it_was_asked(spark: SparkSession) -> None:
    cases = [
        Case("the newest row", [1, 2], 2, 2),
        Case("the row that was the newest when it was asked", [1, 2, 3], 2, 2),
        Case("a row that came while it was asked", [1, 2, 3, 4], 2, 3),
        Case("a post that was deleted while it was asked", [1, 2, None], 2, 2),
        Case("nothing of a post that was deleted meanwhile", [1, 2, None], 2, None),
        Case("a post that came while it was asked", [1], 0, 1),
    ]
    assert not_the_feed(spark, cases) == []


def test_an_older_row_of_the_topic_in_the_answers_is_drift(spark: SparkSession) -> None:
    cases = [
        Case("an older row", [1, 2], 2, 1),
        Case("one that was older when it was asked", [1, 2, 3], 2, 1),
        Case("an older one that was written again", [1, 2, 1], 2, 1),
        Case("a post that was deleted before", [1, 2, None], 3, 2),
        Case("nothing of a post that lives", [1, 2], 2, None),
        Case("what the topic has nowhere", [1, 2], 2, 3),
    ]
    assert sorted(not_the_feed(spark, cases)) == sorted(case.name for case in cases)


def test_a_post_that_has_only_newer_rows_is_judged_the_next_time_and_no_other(spark: SparkSession) -> None:
    cases = [
        Case("compacted", [], 0, None, alive=1, newer=[1]),
        Case("gone", [], 0, None, alive=1),
        Case("wrong, and written to", [2], 1, 2, alive=1, newer=[3]),
        Case("new", [], 0, None, newer=[1]),
    ]
    found = compared(spark, cases)
    assert [name for name, row in found.items() if row["is_unsettled"]] == ["compacted"]
    assert sorted(name for name, row in found.items() if row["why"]) == ["gone", "wrong, and written to"]


@pytest.mark.parametrize(("comes_nearer", "waited"), [(True, 9), (False, 3)])
def test_an_archive_is_waited_for_as_long_as_it_comes_nearer(
    monkeypatch: pytest.MonkeyPatch, comes_nearer: bool, waited: int
) -> None:
    """Each look is 45 seconds after the one before; 90 without a step are too many."""
    looks: list[int] = []
    table = SimpleNamespace(version=lambda: 0)
    monkeypatch.setattr(job.offsets, "table", lambda *_: table)
    monkeypatch.setattr(job.offsets, "held", lambda *_: {"likes": {0: len(looks) if comes_nearer else 1}})
    monkeypatch.setattr(job.sources, "archived", lambda *_: "all")
    monkeypatch.setattr(job.time, "monotonic", lambda: 45.0 * len(looks))

    def look(_: float) -> None:
        looks.append(0)
        assert len(looks) < 20

    monkeypatch.setattr(job.time, "sleep", look)

    def facts() -> Any:
        return job.facts_up_to(None, Settings(), {"likes": {0: 9}}, False)  # type: ignore[arg-type]

    if comes_nearer:
        assert facts() == ("all", {"likes": {0: 9}}, {"likes": {0: 9}})
    else:
        with pytest.raises(job.CannotAuditError, match="the archive is 8 records behind"):
            facts()
    assert len(looks) == waited
