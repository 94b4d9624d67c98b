"""The newest rankings, recounted in both ways as of what was read when they were made."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from audit import recount
from audit.offsets import Offsets, of_batch
from conf.settings import Settings
from conf.store import Place, checkpoints, lake
from contract import tables
from contract.facts import format_time, parse_time
from contract.results import SEEN_HEADER, RankedPost, Ranking
from contract.topics import RISING_POSTS, TRENDING_POSTS
from jobs.offsets import consumer_of
from jobs.sinks.lake import kept_batch
from jobs.transforms.panes import dated_acts, first_hour_engagement, minute_panes
from jobs.transforms.ranking import MINUTE, PastHour, Score, best, living, rising, scored, trending

STATEMENT = Path(__file__).with_name("rankings.sql")
LOOK_BACK = 20
BOARDS = (
    "board string, topic string, partition int, next bigint, "
    "window_start timestamp, window_end timestamp, judged_from timestamp, since string"
)
WEIGHTS = "like_weight int, comment_weight int, top int"
PLACE = list(RankedPost.model_fields)
_BOARD = {TRENDING_POSTS: "trending", RISING_POSTS: "rising"}


@dataclass(frozen=True)
class Published:
    """A ranking of a result topic; `seen`: what had been read, None where the header does not say."""

    topic: str
    ranking: Ranking
    seen: Offsets | None
    arrived_ms: int

    @property
    def hour(self) -> PastHour:
        return PastHour(parse_time(self.ranking.window_end))

    @property
    def places(self) -> list[tuple[Any, ...]]:
        return [_place(post) for post in self.ranking.posts]


def newest(settings: Settings) -> list[Published]:
    """The last few rankings of each topic, oldest first."""
    with closing(consumer_of(settings)) as consumer:
        return [one for topic in _BOARD for one in _last(consumer, TopicPartition(topic, 0))]


def _last(consumer: KafkaConsumer, place: TopicPartition) -> list[Published]:
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    consumer.seek(place, max(consumer.beginning_offsets([place])[place], end - LOOK_BACK))
    found: list[Published] = []
    while consumer.position(place) < end:
        for record in consumer.poll(timeout_ms=500).get(place, []):
            if record.value is not None:
                found.append(_published(record))
    return found


def _published(record: Any) -> Published:
    header = dict(record.headers).get(SEEN_HEADER)
    seen = {topic: {int(part): at for part, at in parts.items()} for topic, parts in json.loads(header or "{}").items()}
    return Published(record.topic, Ranking.model_validate_json(record.value), seen or None, record.timestamp)


@dataclass(frozen=True)
class Candidate:
    """What may have gone into a ranking: one for trending; for rising its engagement as of a batch of its own query."""

    board: str
    ranking: Published
    posts: Offsets
    engagement: Offsets

    @property
    def offsets(self) -> list[tuple[str, int, int]]:
        upto = {"posts": self.posts.get("posts", {})} | {
            topic: self.engagement.get(topic, {}) for topic in ("likes", "comments")
        }
        return [(topic, part, following) for topic, parts in upto.items() for part, following in parts.items()]


def candidates(settings: Settings, found: list[Published]) -> list[Candidate]:
    """Of the newest ranking of each board, that of which it can be told what went in."""
    last = {_BOARD[one.topic]: one for one in found}
    wanted = []
    if "trending" in last and last["trending"].seen is not None:
        seen = last["trending"].seen
        wanted.append(Candidate("trending", last["trending"], seen, seen))
    if "rising" in last and last["rising"].seen is not None:
        wanted += _rising(settings, last["rising"], last["rising"].seen)
    return wanted


def _rising(settings: Settings, ranking: Published, seen: Offsets) -> list[Candidate]:
    """Rising is read from a table that a query of its own writes: its batches that may have been the last one then."""
    checkpoint = checkpoints(settings) / tables.FIRST_HOUR_ENGAGEMENT
    made = parse_time(ranking.ranking.generated_at).timestamp() * 1000
    batches = _batches(lake(settings) / tables.FIRST_HOUR_ENGAGEMENT / "_delta_log")
    # Delta notes the time a little before others can see the commit.
    before = [batch for at, batch in batches if at < made][-2:]
    within = [batch for at, batch in batches if made <= at <= ranking.arrived_ms]
    found = []
    for batch in before + within:
        try:
            found.append(Candidate(f"rising/{batch}", ranking, seen, of_batch(checkpoint, batch)))
        except FileNotFoundError:
            continue  # of long ago: nothing can be said of it
    # A table that is this young may have been read empty.
    return found + ([Candidate("rising/none", ranking, seen, {})] if len(before) < 2 else [])


def _batches(log: Place) -> list[tuple[int, int]]:
    """(when, batch) of the newest commits, oldest first."""
    commits = (kept_batch(path.read_text()) for path in sorted(log.glob("[0-9]*.json"))[-2 * LOOK_BACK :])
    return [(one.at_ms, one.batch_id) for one in commits if one]


def most(found: list[Candidate]) -> list[Offsets]:
    """What the archive must have before these can be judged."""
    return [offsets for one in found for offsets in (one.posts, one.engagement)]


def drift(known: DataFrame, settings: Settings, wanted: list[Candidate]) -> list[str]:
    """What does not agree, a sentence a board and recount; `known`, `judged`: the facts of the two recounts."""
    if not wanted:
        return []
    by_statement, said = _by_statement(known.sparkSession, settings, wanted), []
    for board in ("trending", "rising"):
        mine = [one for one in wanted if one.board.startswith(board)]
        if not mine:
            continue
        recounts: dict[str, Recount] = {
            "statement": lambda one: by_statement.get(one.board, []),
            "transforms": lambda one: _by_transforms(known, settings, one),
        }
        said += [f"{board}: {wrong}" for name, made in recounts.items() if (wrong := _difference(mine, made, name))]
    return said


Recount = Callable[[Candidate], list[tuple[Any, ...]]]


def _difference(mine: list[Candidate], recount: Recount, name: str) -> str | None:
    """None where one of the candidates gives what is published; else where the last of them differs."""
    published, made = mine[0].ranking.places, []
    for one in reversed(mine):
        made = recount(one)
        if made == published:
            return None
    return _first_difference(published, made, name)


def _first_difference(published: list[tuple[Any, ...]], made: list[tuple[Any, ...]], name: str) -> str:
    pairs = list(zip([*published, *[None] * len(made)], [*made, *[None] * len(published)], strict=False))
    place, (mine, theirs) = next((at, pair) for at, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"place {place} is {_short(mine)}, the {name} make it {_short(theirs)}"


def _short(place: tuple[Any, ...] | None) -> str:
    if place is None:
        return "none"
    post = dict(zip(PLACE, place, strict=True))
    return f"{post['post_id']} ({post['likes']} likes, {post['comments']} comments)"


def _by_statement(spark: SparkSession, settings: Settings, wanted: list[Candidate]) -> dict[str, list[tuple[Any, ...]]]:
    rows = [(one.board, *place, *_window(one.ranking.hour)) for one in wanted for place in one.offsets]
    spark.createDataFrame(rows, BOARDS).createOrReplaceTempView("boards")
    weights = [(settings.like_weight, settings.comment_weight, settings.top)]
    spark.createDataFrame(weights, WEIGHTS).createOrReplaceTempView("weights")
    recount.run(spark, STATEMENT)
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in spark.table("ranked").orderBy("board", "rank").collect():  # `top` rows a board
        found.setdefault(row.board, []).append(_place(row))
    return found


def _window(hour: PastHour) -> tuple[Any, ...]:
    return hour.start, hour.end, hour.judged_from, format_time(hour.judged_from)


def _place(post: RankedPost | Row) -> tuple[Any, ...]:
    return tuple(getattr(post, name) for name in PLACE)


def _by_transforms(known: DataFrame, settings: Settings, wanted: Candidate) -> list[tuple[Any, ...]]:
    spark, hour = known.sparkSession, wanted.ranking.hour
    upto = spark.createDataFrame(wanted.offsets, "topic string, partition int, next bigint")
    # What is dated before has no say, a minute more: fixed-form times sort as text.
    is_recent = (F.col("topic") == "posts") | (F.col("occurred_at") >= format_time(hour.judged_from - MINUTE))
    near = known.where(is_recent).join(F.broadcast(upto), ["topic", "partition"])
    judged = near.where("offset < next").drop("next")
    posts = judged.where("topic = 'posts'")
    dated = judged.where("topic != 'posts'").transform(dated_acts)
    if wanted.board == "trending":
        engagement = dated.transform(minute_panes).transform(trending, hour)
    else:
        born = F.col("occurred_at").cast("timestamp").alias("born")
        created = posts.where("event_type = 'post_created'").select("post_id", born)
        engagement = first_hour_engagement(created, dated).transform(rising, hour)
    score = Score(settings.like_weight, settings.comment_weight, settings.top)
    found = best(engagement.transform(scored, score), partial(living, posts), score.top)
    return [_place(post) for post in found.get(wanted.board.split("/")[0], [])]


def feed_drift(found: list[Published], answers: dict[str, Any]) -> list[str]:
    """Rankings that the feed answers with, and that differ from the topic's of the same moment."""
    made = {(_BOARD[one.topic], one.ranking.generated_at): one.ranking for one in found}
    said = []
    for board, answer in answers.items():
        ranking = made.get((board, answer["generated_at"]))
        if ranking is not None and ranking != Ranking.model_validate(answer):
            said.append(f"{board}: the feed's answer is not the topic's ranking of {answer['generated_at']}")
    return said
