"""A ranking is what both recounts make of the facts that had been read; one like more or less is drift."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from pyspark.sql import SparkSession

from audit import rankings, recount
from audit.rankings import Candidate, Published
from conf.settings import Settings
from contract import tables
from contract.facts import format_time
from contract.results import RankedPost, Ranking
from contract.topics import RISING_POSTS, TRENDING_POSTS
from tests import reference
from tests.jobs.histories import NOON, Fact, histories, records

pytestmark = pytest.mark.spark
END = NOON + timedelta(minutes=16)


def published(topic: str, places: list[reference.Ranked], history: list[Fact]) -> Published:
    posts = []
    for rank, place in enumerate(places, 1):
        post = reference.creation(history, place.post_id)
        assert post is not None
        body = {name: post[name] for name in ("user_id", "image_url", "caption")}
        posts.append(RankedPost(rank=rank, **vars(place), **body))
    times = {"window_start": END - timedelta(hours=1), "window_end": END, "generated_at": END}
    ranking = Ranking(posts=posts, **{name: format_time(moment) for name, moment in times.items()})
    return Published(topic, ranking, None, 0)


def drift(spark: SparkSession, history: list[Fact], found: list[Published], folder: Path, read: int) -> list[str]:
    """What is said of these rankings, made when so many records had been read."""
    frame = records(spark, history).withColumnRenamed("timestamp", "arrived_at")
    recount.judge_by_statement(frame, folder)
    known = recount.judge_by_transforms(frame, folder)
    seen = {topic: {0: read} for topic in ("posts", "likes", "comments")}
    boards = {TRENDING_POSTS: "trending", RISING_POSTS: "rising/7"}
    wanted = [Candidate(boards[one.topic], one, seen, seen) for one in found]
    return rankings.drift(known, Settings(), wanted)


@settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(history=histories(min_size=60, max_size=150))
def test_rankings_are_judged_as_of_what_was_read(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, history: list[Fact]
) -> None:
    spark.conf.set("spark.sql.variant.allowDuplicateKeys", "true")
    read = len(history) * 2 // 3
    known = history[:read]
    trending, rising = reference.trending(known, END), reference.rising(known, END)
    assume(trending and rising)
    found = [published(TRENDING_POSTS, trending, known), published(RISING_POSTS, rising, known)]
    assert drift(spark, history, found, tmp_path_factory.mktemp("fine"), read) == []
    more = [smuggled(one) for one in found]
    said = drift(spark, history, more, tmp_path_factory.mktemp("smuggled"), read)
    assert [sentence.split(" is ")[0] for sentence in said] == ["trending: place 1"] * 2 + ["rising: place 1"] * 2


def smuggled(one: Published) -> Published:
    """One like more in the first place."""
    first = one.ranking.posts[0]
    posts = [first.model_copy(update={"likes": first.likes + 1}), *one.ranking.posts[1:]]
    return Published(one.topic, one.ranking.model_copy(update={"posts": posts}), one.seen, one.arrived_ms)


@pytest.fixture
def young(tmp_path: Path) -> Settings:
    """Rising's query has made batch 0, at 1,000 ms, and batch 1, at 3,000 ms."""
    young = Settings(data_dir=tmp_path)
    checkpoint, log = (folder / tables.FIRST_HOUR_ENGAGEMENT for folder in (young.checkpoint_dir, young.lake_dir))
    (checkpoint / "offsets").mkdir(parents=True)
    (log / "_delta_log").mkdir(parents=True)
    for batch in (0, 1):
        (checkpoint / "offsets" / str(batch)).write_text(f'v1\n{{}}\n{{"likes":{{"0":{batch + 1}}}}}\n')
        commit = {"commitInfo": {"timestamp": 1_000 + 2_000 * batch, "userMetadata": f"rising {batch}"}}
        (log / "_delta_log" / f"{batch:020}.json").write_text(f'{json.dumps(commit)}\n{{"add": {{}}}}\n')
    return young


@pytest.mark.parametrize(
    ("made_ms", "arrived_ms", "may_have_been_read"),
    [(500, 2_000, [1, None]), (2_000, 2_500, [1, None]), (2_000, 3_500, [1, 2, None]), (4_000, 5_000, [1, 2])],
)
def test_rising_may_have_been_made_of_a_table_that_was_empty(
    young: Settings, made_ms: int, arrived_ms: int, may_have_been_read: list[int | None]
) -> None:
    made = format_time(datetime.fromtimestamp(made_ms / 1000, timezone.utc))
    ranking = Ranking(posts=[], window_start=made, window_end=made, generated_at=made)
    found = rankings.candidates(young, [Published(RISING_POSTS, ranking, {"posts": {0: 9}}, arrived_ms)])
    assert [one.engagement.get("likes", {}).get(0) for one in found] == may_have_been_read


def test_a_feed_that_answers_another_ranking_than_the_topics_is_drift() -> None:
    ranking = published(TRENDING_POSTS, [], [])
    answer: dict[str, Any] = ranking.ranking.model_dump()
    assert rankings.feed_drift([ranking], {"trending": answer}) == []
    other = {"rank": 1, "post_id": "p", "user_id": "u", "image_url": "", "caption": "", "comments": 0}
    wrong = {**answer, "posts": [{**other, "likes": 1, "score": 1}]}
    assert len(rankings.feed_drift([ranking], {"trending": wrong})) == 1
    newer = {**wrong, "generated_at": format_time(datetime.now().astimezone())}
    assert rankings.feed_drift([ranking], {"trending": newer}) == []
