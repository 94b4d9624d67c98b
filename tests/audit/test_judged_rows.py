"""In real time a row may say of a fact that it went in while an older one is on its way: which row can be judged?"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from pyspark.sql import SparkSession

from audit import published
from jobs.offsets import Offsets

pytestmark = pytest.mark.spark
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
FOUND = (
    "post_id string, said struct<version: bigint>, "
    "seen struct<posts: array<bigint>, likes: array<bigint>, comments: array<bigint>>, "
    "place struct<timestamp: timestamp, partition: int, offset: bigint>"
)
FACTS = "post_id string, topic string, partition int, offset bigint"
LIKES, COMMENTS = 3, 5
"""The partitions in which facts of these posts lie."""


@dataclass(frozen=True)
class Row:
    """One of the topic: its version, and up to which like and which comment it has seen; None: it has seen none."""

    version: int
    like: int | None
    comment: int | None = None


@dataclass(frozen=True)
class Case:
    """A post with its creation and likes and comments at offsets 0, 1, 2 and so on, and rows; the jobs have passed
    the likes below `passed`."""

    name: str
    likes: int
    rows: list[Row | None]
    judged: int | None
    comments: int = 0
    passed: int = 0


CASES = [
    Case("all is there", likes=3, rows=[Row(2, 0), Row(3, 1), Row(4, 2)], judged=2),
    Case("an older like is on its way", likes=3, rows=[Row(2, 0), Row(3, 1), Row(3, 2)], judged=1),
    Case("and came", likes=3, rows=[Row(2, 0), Row(2, 1), Row(3, 2), Row(4, 2)], judged=3),
    Case("newer likes are no matter", likes=9, rows=[Row(2, 0), Row(3, 1)], judged=1),
    Case("no comment was seen", likes=2, rows=[Row(3, 1)], judged=0, comments=2),
    Case("a comment is on its way", likes=2, rows=[Row(2, 0), Row(4, 1, 1)], judged=0, comments=2),
    Case("one was lost", likes=4, rows=[Row(2, 0), Row(2, 1), Row(3, 2), Row(4, 3)], judged=0),
    Case("one was lost, and the jobs are behind it", likes=4, rows=[Row(2, 0), Row(4, 3)], judged=None, passed=2),
    Case("what was passed never came", likes=4, rows=[Row(2, 0), Row(3, 1)], judged=1, passed=3),
    Case("what was passed is there", likes=4, rows=[Row(2, 0), Row(4, 2), Row(4, 3)], judged=1, passed=3),
    Case("one was counted twice", likes=3, rows=[Row(2, 0), Row(5, 2)], judged=1),
    Case("twice the same row", likes=1, rows=[Row(2, 0), Row(2, 0)], judged=0),
    Case("after a rebuild", likes=2, rows=[Row(published.TERM + 2, 0), Row(published.TERM + 3, 1)], judged=1),
    Case("deleted since", likes=1, rows=[Row(2, 0), None], judged=0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_newest_row_that_can_be_judged_is_found(spark: SparkSession, case: Case) -> None:
    rows = [
        ("p", row and (row.version,), row and seen(row), (NOON + timedelta(seconds=at), 0, at))
        for at, row in enumerate(case.rows)
    ]
    there = (("posts", 0, 1), ("likes", LIKES, case.likes), ("comments", COMMENTS, case.comments))
    facts = [("p", topic, partition, offset) for topic, partition, many in there for offset in range(many)]
    passed: Offsets = {"likes": {LIKES: case.passed}}
    judged = published.judged_rows(
        spark.createDataFrame(rows, FOUND), spark.createDataFrame(facts, FACTS), published.cut_frame(spark, passed)
    )
    found = [row["judged"]["place"]["offset"] for row in judged.collect()]
    assert found == ([] if case.judged is None else [case.judged])


def seen(row: Row) -> tuple[list[int], list[int] | None, list[int] | None]:
    like = None if row.like is None else [LIKES, row.like]
    comment = None if row.comment is None else [COMMENTS, row.comment]
    return [0, 0], like, comment
