"""A ranking is what both recounts make of the facts that had been read; one like more or less is drift."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from audit import feed, rankings, recount
from audit.offsets import CannotAuditError
from audit.part import WHOLE, Part
from audit.rankings import Published
from conf.settings import Settings
from contract.facts import format_time, parse_time
from contract.results import SEEN_HEADER, RankedPost, Ranking
from contract.topics import RISING_POSTS, TRENDING_POSTS
from service.app import build_app
from tests import reference
from tests.feeds.serving import free_ports, served
from tests.jobs.histories import NOON, Fact, fact, histories, hostile, records

pytestmark = pytest.mark.spark
END = NOON + timedelta(minutes=16)


def published(topic: str, places: list[reference.Ranked], history: list[Fact]) -> Published:
    posts = []
    for rank, place in enumerate(places, 1):
        post = reference.creation(history, place.post_id)
        assert post is not None
        body = {name: post[name] for name in ("user_id", "image_url", "caption")}
        posts.append(RankedPost(rank=rank, **vars(place), **body))
    times = {"window_start": END - timedelta(hours=1), "window_end": END, "generated_at": END - timedelta(seconds=7)}
    ranking = Ranking(posts=posts, **{name: format_time(moment) for name, moment in times.items()})
    return Published(topic, ranking, {}, {}, 0)


def judged(spark: SparkSession, history: list[Fact], folder: Path, part: Part = WHOLE) -> DataFrame:
    """The facts about posts of the part, as both recounts have them."""
    frame = records(spark, history).withColumnRenamed("timestamp", "arrived_at")
    recount.judge_by_statement(frame, folder, part)
    return recount.judge_by_transforms(frame, folder).where(part.has(F.col("post_id")))


def drift(
    spark: SparkSession, history: list[Fact], found: list[Published], folder: Path, read: int, births: int | None = None
) -> list[str]:
    """What is said of these rankings, made when so many records had been read, and so many for births."""
    known = judged(spark, history, folder)
    seen = {topic: {0: read} for topic in ("posts", "likes", "comments")}
    born = {0: read if births is None else births}
    wanted = rankings.judgeable([replace(one, seen=seen, births=born) for one in found])
    assert len(wanted) == len(found)
    return rankings.drift(known, Settings(), wanted)


@hostile(1)
@given(history=histories(min_size=60, max_size=150))
def test_rankings_are_judged_as_of_what_was_read(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, history: list[Fact]
) -> None:
    read = len(history) * 2 // 3
    known = history[:read]
    trending, rising = reference.trending(known, END), reference.rising(known, END)
    assume(trending and rising)
    found = [published(TRENDING_POSTS, trending, known), published(RISING_POSTS, rising, known)]
    assert drift(spark, history, found, tmp_path_factory.mktemp("fine"), read) == []
    more = [smuggled(one) for one in found]
    said = drift(spark, history, more, tmp_path_factory.mktemp("smuggled"), read)
    assert [sentence.split(" is ")[0] for sentence in said] == ["trending: place 1"] * 2 + ["rising: place 1"] * 2


HALVES = [Part(number, 2) for number in range(2)]
WRONG = {"gfe": False, "gef": True, "gfd": True, "gf": True, "gfed": True, "gff": True}
"""Rankings of three: right, not in order, with another post, too short, too long, with one twice."""


def test_parts_find_together_what_is_wrong_in_a_ranking(spark: SparkSession, tmp_path: Path) -> None:
    at = NOON + timedelta(minutes=2)
    history = [fact("post_created", f"e{name}", NOON, "ada", name) for name in "abcdefg"]
    likes = [(name, number) for rank, name in enumerate("abcdefg", 1) for number in range(rank)]
    history += [fact("post_liked", f"l{name}{number}", at, f"u{number}", name) for name, number in likes]
    by_name = {place.post_id: place for place in reference.trending(history, END)}
    seen = {topic: {0: len(history)} for topic in ("posts", "likes")}
    is_wrong = dict.fromkeys(WRONG, False)
    for part in HALVES:
        known = judged(spark, history, tmp_path / str(part.number), part)
        for posts in WRONG:
            ranking = published(TRENDING_POSTS, [by_name[name] for name in posts], history)
            said = rankings.drift(known, Settings(top=3), [replace(ranking, seen=seen, births=seen["posts"])], part)
            is_wrong[posts] |= bool(said)
    assert is_wrong == WRONG


def test_a_post_whose_birth_is_read_later_is_not_missed_and_one_read_before_is(
    spark: SparkSession, tmp_path: Path
) -> None:
    """The two queries of the rankings read by themselves; likes may come before their post."""
    history = [
        fact("post_liked", "e0", NOON + timedelta(minutes=2)),
        fact("post_created", "e1", NOON + timedelta(minutes=1), "ada"),
    ]
    none, one = (published(RISING_POSTS, reference.rising(known, END), known) for known in (history[:1], history))
    assert [len(found.ranking.posts) for found in (none, one)] == [0, 1]
    assert drift(spark, history, [none], tmp_path / "later", 2, births=1) == []
    assert len(drift(spark, history, [one], tmp_path / "claimed", 2, births=1)) == 2
    assert drift(spark, history, [one], tmp_path / "before", 2, births=2) == []
    assert len(drift(spark, history, [none], tmp_path / "missed", 2, births=2)) == 2
    assert replace(one, seen={"posts": {0: 1}}, births={0: 2}).needed == {"posts": {0: 2}}


@pytest.mark.parametrize(
    ("said", "seen", "births"),
    [
        ('{"posts": {"0": 3}, "likes": {"1": 5}, "births": {"0": 2}}', {"posts": {0: 3}, "likes": {1: 5}}, {0: 2}),
        ('{"posts": {"0": 3}}', {"posts": {0: 3}}, {0: 3}),
        (None, {}, {}),
    ],
    ids=["with births", "of before there were any", "without the header"],
)
def test_what_had_been_read_is_taken_from_the_header(
    said: str | None, seen: dict[str, dict[int, int]], births: dict[int, int]
) -> None:
    value = published(RISING_POSTS, [], []).ranking.model_dump_json()
    headers = [] if said is None else [(SEEN_HEADER, said.encode())]
    record = SimpleNamespace(topic=RISING_POSTS, value=value, headers=headers, timestamp=7)
    found = rankings._published(record)
    assert (found.seen, found.births, found.arrived_ms) == (seen, births, 7)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [("window_start", 60), ("generated_at", 7), ("generated_at", -60), ("generated_at", -53)],
    ids=["59 minutes", "after its minute", "a minute late", "at the beginning of its minute"],
)
def test_a_ranking_of_another_hour_than_its_own_is_drift(
    spark: SparkSession, tmp_path: Path, field: str, seconds: int
) -> None:
    one = published(TRENDING_POSTS, [], [])
    moved = format_time(parse_time(getattr(one.ranking, field)) + timedelta(seconds=seconds))
    wrong = replace(one, ranking=one.ranking.model_copy(update={field: moved}))
    said = drift(spark, [fact("post_created", "e1", NOON, "ada")], [wrong], tmp_path, 1)
    assert len(said) == (0 if seconds == -53 else 1)


def smuggled(one: Published) -> Published:
    """One like more in the first place."""
    first = one.ranking.posts[0]
    posts = [first.model_copy(update={"likes": first.likes + 1}), *one.ranking.posts[1:]]
    return replace(one, ranking=one.ranking.model_copy(update={"posts": posts}))


def test_the_newest_ranking_of_each_board_is_judged_where_it_says_what_went_in() -> None:
    seen = {"likes": {0: 7}}
    older, newer = (replace(published(TRENDING_POSTS, [], []), seen=one) for one in ({"likes": {0: 3}}, seen))
    silent = published(RISING_POSTS, [], [])
    assert rankings.judgeable([older, newer, silent]) == [newer]
    assert rankings.judgeable([older, newer, replace(silent, seen=seen)]) == [newer, replace(silent, seen=seen)]


def test_a_feed_that_answers_another_ranking_than_the_topics_is_drift() -> None:
    ranking = published(TRENDING_POSTS, [], [])
    answer: dict[str, Any] = ranking.ranking.model_dump()
    assert rankings.feed_drift([ranking], {"trending": answer}) == []
    other = {"rank": 1, "post_id": "p", "user_id": "u", "image_url": "", "caption": "", "comments": 0}
    wrong = {**answer, "posts": [{**other, "likes": 1, "score": 1}]}
    assert len(rankings.feed_drift([ranking], {"trending": wrong})) == 1


def generated(minutes: int) -> Published:
    one = published(TRENDING_POSTS, [], [])
    at = format_time(END + timedelta(minutes=minutes))
    return replace(one, ranking=one.ranking.model_copy(update={"generated_at": at}))


def test_a_feed_that_answers_a_ranking_which_the_topic_does_not_have_is_drift() -> None:
    found = [generated(minutes) for minutes in (1, 2, 3)]
    answers = [generated(minutes).ranking.model_dump() for minutes in range(5)]
    unknown = [rankings.feed_drift(found, {"trending": answer}) for answer in answers]
    # One of before, and one of its own, are none; each of the last ones is, since a feed may be behind.
    assert [len(said) for said in unknown] == [1, 0, 0, 0, 1]


def test_before_the_first_ranking_the_feed_has_an_empty_one_of_its_own() -> None:
    own: dict[str, Any] = generated(7).ranking.model_dump()
    assert rankings.feed_drift([], {"trending": own, "rising": own}) == []
    assert len(rankings.feed_drift([generated(1)], {"trending": own, "rising": own})) == 1
    place = {"rank": 1, "post_id": "p", "user_id": "u", "image_url": "", "caption": ""}
    claimed = {**own, "posts": [{**place, "likes": 1, "comments": 0, "score": 1}]}
    assert len(rankings.feed_drift([], {"trending": claimed})) == 1


@pytest.mark.parametrize(("patience", "drifts"), [(30.0, 0), (0.0, 1)])
def test_a_feed_that_has_not_taken_in_the_newest_is_asked_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch, patience: float, drifts: int
) -> None:
    answers = [{"trending": generated(minutes).ranking.model_dump()} for minutes in (0, 2)]
    topic = [[generated(1)], [generated(1), generated(2)]]
    monkeypatch.setattr(rankings, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(feed, "rankings", lambda _: answers.pop(0))
    monkeypatch.setattr(rankings, "newest", lambda _: topic.pop(0))
    found, answered = rankings.with_answers(Settings(), "http://feed")
    assert len(rankings.feed_drift(found, answered)) == drifts


def test_of_a_feed_that_refuses_nothing_can_be_said_and_one_that_is_not_there_is_left_out() -> None:
    with served(build_app([], Settings())) as url, pytest.raises(CannotAuditError, match="/trending answers 404: http"):
        feed.rankings(url)
    assert feed.rankings(f"http://127.0.0.1:{free_ports(1)}") == {}
