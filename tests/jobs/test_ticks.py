"""What is kept in memory between the ticks of the rankings says the same as the tables do."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.facts import format_time
from contract.results import read_seen
from jobs.offsets import parsed
from jobs.sinks import rankings as sink
from jobs.sinks.lake import append_once, ensure_table, table_path
from jobs.sinks.rankings import FirstHours, Fresh, Rankings
from jobs.transforms import ranking
from jobs.transforms.panes import as_kept
from jobs.transforms.ranking import PastHour
from jobs.trending_posts import FIRST_HOUR, KEPT_PANES, PANES, POST_FACTS

pytestmark = pytest.mark.spark
NOON = datetime(2026, 11, 20, 12, 0, 5, tzinfo=timezone.utc)
JUDGED_FROM = NOON.replace(hour=11, minute=0, second=0)
SEEN = {"posts": {0: 7}, "likes": {0: 9_999}}
Boards = dict[str, list[tuple[str, int, int]]]


class Tables:
    """The tables of the job, and batches for them."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.settings, self._batch = spark, Settings(data_dir=folder), 0
        schemas = {tables.POST_FACTS: POST_FACTS, tables.FIRST_HOUR_ENGAGEMENT: FIRST_HOUR}
        for name, schema in {tables.ENGAGEMENT_BY_MINUTE: KEPT_PANES, **schemas}.items():
            ensure_table(spark, table_path(self.settings, name), schema)

    def batch(self, panes: dict[tuple[str, int], int], posts: list[tuple[str, str]], comments: int = 0) -> Fresh:
        """Likes of posts by minutes before noon, to each so many comments; types of facts of posts."""
        rows = [
            (JUDGED_FROM, post_id, NOON.replace(second=0) - timedelta(minutes=back), likes, comments)
            for (post_id, back), likes in panes.items()
        ]
        facts = [
            {"event_type": kind, "event_id": f"{kind}-{post_id}", "occurred_at": format_time(NOON), "user_id": "ada"}
            | {"post_id": post_id, "image_url": "/a.jpg", "caption": ""}
            for kind, post_id in posts
        ]
        frame = self.spark.createDataFrame(facts, POST_FACTS)
        is_empty = not (panes or posts)
        return Fresh(self.spark.createDataFrame(rows, PANES), frame, {post_id for _, post_id in posts}, is_empty)

    def keep(self, fresh: Fresh) -> None:
        self._batch += 1
        for name, rows in ((tables.ENGAGEMENT_BY_MINUTE, as_kept(fresh.panes)), (tables.POST_FACTS, fresh.posts)):
            append_once(rows, table_path(self.settings, name), "w", self._batch)


@pytest.fixture
def kept(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, tmp_path)


class Published:
    """What goes to Kafka, and which tables were read for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._records: list[Any] = []
        self.looked_up: list[set[str]] = []
        monkeypatch.setattr(sink, "write_rankings", lambda records, _: self._records.append(records.collect()))

        def living(post_facts: DataFrame, post_ids: set[str]) -> Any:
            self.looked_up.append(post_ids)
            return ranking.living(post_facts, post_ids)

        monkeypatch.setattr(sink, "living", living)

    def seen(self) -> dict[str, Any]:
        """By board, what the header says that went in."""
        return {row.key: parsed(read_seen(row.headers[0].value)) for row in self._records[-1]}

    def rankings(self) -> dict[str, dict[str, Any]]:
        return {row.key: json.loads(row.value) for row in self._records[-1]}

    def last(self) -> Boards:
        return {
            key: [(post["post_id"], post["likes"], post["score"]) for post in ranking["posts"]]
            for key, ranking in self.rankings().items()
        }


def test_likes_and_comments_are_worth_what_the_settings_say(kept: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)
    kept.keep(kept.batch({("liked", 1): 2}, [("post_created", "liked"), ("post_created", "commented")]))
    kept.keep(kept.batch({("commented", 1): 0}, [], comments=5))
    settings = kept.settings.model_copy(update={"like_weight": 3, "comment_weight": 1})
    Rankings(kept.spark, settings).publish(kept.spark, NOON, {}, None)
    trending = published.rankings()["past_hour"]
    assert [(post["post_id"], post["rank"], post["score"]) for post in trending["posts"]] == [
        ("liked", 1, 6),
        ("commented", 2, 5),
    ]
    times = {
        "window_start": "2026-11-20T11:01:00.000Z",
        "window_end": "2026-11-20T12:01:00.000Z",
        "generated_at": "2026-11-20T12:00:05.000Z",
    }
    assert {name: trending[name] for name in times} == times


def test_a_ranking_from_memory_is_the_one_of_the_tables(kept: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)
    spark, first = kept.spark, kept.batch({("a", 1): 3, ("b", 2): 5, ("late", 59): 9}, [("post_created", "a")])
    job = Rankings(spark, kept.settings)
    kept.keep(first)
    job.publish(spark, NOON, {}, None)
    assert published.last()["past_hour"] == [("a", 3, 3)]

    def tick(seconds: int, fresh: Fresh) -> list[tuple[str, int, int]]:
        moment = NOON + timedelta(seconds=seconds)
        job.publish(spark, moment, {}, fresh)
        from_memory = published.last()
        kept.keep(fresh)
        looked_up = len(published.looked_up)
        Rankings(spark, kept.settings).publish(spark, moment, {}, None)
        assert from_memory == published.last()
        del published.looked_up[looked_up:]
        return from_memory["past_hour"]

    # A post appears after its likes, one changes its sum.
    posts = [("post_created", "b"), ("post_created", "late")]
    assert tick(5, kept.batch({("a", 1): -1}, posts)) == [("late", 9, 9), ("b", 5, 5), ("a", 2, 2)]
    # Nothing is looked up where no fact of a post has come; one is deleted.
    seen = len(published.looked_up)
    assert tick(10, kept.batch({("a", 0): 8}, [])) == [("a", 10, 10), ("late", 9, 9), ("b", 5, 5)]
    assert len(published.looked_up) == seen
    assert tick(15, kept.batch({}, [("post_deleted", "b")])) == [("a", 10, 10), ("late", 9, 9)]
    # Where nothing has come it is the same; where the minute is over, others are in the hour.
    with monkeypatch.context() as patch:
        patch.setattr(job, "_best", lambda *_: pytest.fail("ranked anew"))
        assert tick(20, kept.batch({}, [])) == [("a", 10, 10), ("late", 9, 9)]
    assert tick(60, kept.batch({}, [])) == [("a", 10, 10)]
    assert published.looked_up[seen:] == [{"b"}]
    # The hour moves on: what was in its first minute is out.
    assert tick(60, kept.batch({("a", 3): 1}, [])) == [("a", 11, 11)]
    # What goes to the tables unranked is in the next ranking.
    unranked = kept.batch({("late", 7): 4}, [("post_deleted", "a")])
    job.skip(unranked.post_ids)
    kept.keep(unranked)
    assert tick(75, kept.batch({("late", 7): 1}, [])) == [("late", 5, 5)]
    # What was in the memory of an executor goes with it.
    lost = job._sums[1].withColumn("likes", F.raise_error("gone").cast("long"))  # type: ignore[index]
    job._sums = (PastHour.at(NOON + timedelta(seconds=80)), lost)
    assert tick(80, kept.batch({("late", 7): 1}, [])) == [("late", 6, 6)]


def test_what_the_first_hours_got_since_they_were_read_is_ranked_too(
    kept: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, spark = Published(monkeypatch), kept.spark
    born, reads, engagement = NOON - timedelta(minutes=9), [0], list[Any]()
    job, nothing = Rankings(spark, kept.settings), kept.batch({}, [])
    read = job.first_hours.read
    monkeypatch.setattr(job.first_hours, "read", lambda *hour: reads.append(0) or read(*hour))

    offsets = kept.settings.checkpoint_dir / tables.FIRST_HOUR_ENGAGEMENT / "offsets"
    offsets.mkdir(parents=True)

    def grow(batch: int, likes: dict[str, int], table: FirstHours = job.first_hours) -> None:
        (offsets / str(batch)).write_text(f'v1\n{{}}\n{{"likes":{{"0":{100 * batch}}}}}\n')
        rows = [(born, post_id, count, 0) for post_id, count in likes.items()]
        table.append(spark.createDataFrame(rows, FIRST_HOUR).localCheckpoint(), "y", batch)

    def tick(seconds: int, fresh: Fresh | None = nothing) -> tuple[list[tuple[str, int, int]], int]:
        reads.clear()
        moment = NOON + timedelta(seconds=seconds)
        job.publish(spark, moment, SEEN, fresh)
        from_memory, seen = published.last(), published.seen()
        Rankings(spark, kept.settings).publish(spark, moment, SEEN, None)
        assert from_memory == published.last()
        assert published.seen() == {"past_hour": SEEN, "first_hour": {}}  # a batch was begun, and not done
        assert seen["past_hour"] == SEEN
        engagement.append(seen["first_hour"].get("likes", {}).get(0))
        return from_memory["first_hour"], len(reads)

    rows = [("post_created", post_id) for post_id in ("a", "b")]
    posts = kept.batch({}, rows)
    kept.keep(replace(posts, posts=posts.posts.withColumn("occurred_at", F.lit(format_time(born)))))
    # What was in the table before a start is not added to it.
    grow(1, {"a": 3}, FirstHours(kept.settings))
    assert tick(0, None) == ([("a", 3, 3)], 1)
    grow(1, {"a": 3})
    assert tick(5) == ([("a", 3, 3)], 1)
    # Two batches between two rankings, none, one that takes back.
    grow(2, {"a": 1, "b": 9})
    grow(3, {"a": 1})
    assert tick(10) == ([("b", 9, 9), ("a", 5, 5)], 0)
    assert tick(15) == ([("b", 9, 9), ("a", 5, 5)], 0)
    grow(4, {"b": -8})
    assert tick(20) == ([("a", 5, 5), ("b", 1, 1)], 0)
    # While nothing is ranked, and when the hour moves on.
    grow(5, {"b": 6})
    job.skip([])
    grow(6, {"b": 1})
    assert tick(25) == ([("b", 8, 8), ("a", 5, 5)], 1)
    grow(7, {"a": 1})
    assert tick(60) == ([("b", 8, 8), ("a", 6, 6)], 1)
    # A batch without changes was read all the same.
    grow(8, {})
    assert tick(65) == ([("b", 8, 8), ("a", 6, 6)], 0)
    assert engagement == [None, 100, 300, 300, 400, 600, 700, 800]


def test_no_more_posts_are_looked_up_than_have_a_place(kept: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)
    settings = kept.settings.model_copy(update={"top": 5})
    likes = {(f"p{number:02}", 1): 100 - number for number in range(20)}
    kept.keep(kept.batch(likes, [("post_created", post_id) for post_id, _ in likes]))
    job = Rankings(kept.spark, settings)
    job.publish(kept.spark, NOON, {}, None)
    assert [post_id for post_id, _, _ in published.last()["past_hour"]] == [f"p{number:02}" for number in range(5)]
    assert published.looked_up == [{f"p{number:02}" for number in range(6)}]
    # Two of the foremost are gone: more are asked for.
    gone = kept.batch({}, [("post_deleted", "p00"), ("post_deleted", "p03")])
    job.publish(kept.spark, NOON, {}, gone)
    assert [row[0] for row in published.last()["past_hour"]] == ["p01", "p02", "p04", "p05", "p06"]
    assert published.looked_up[1:] == [{"p00", "p03"}, {f"p{number:02}" for number in range(6, 20)}]
