"""The newest rankings, recounted in both ways as of what was read when they were made; of a part, its posts."""

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from audit import feed, recount
from audit.feed import PATIENCE_SECONDS
from audit.offsets import furthest
from audit.part import WHOLE, Part
from audit.published import below
from conf.kafka import partitions_of, records_of
from conf.settings import Settings
from contract.facts import format_time, parse_time
from contract.results import BIRTHS, SEEN_HEADER, RankedPost, Ranking, read_seen
from contract.topics import RISING_POSTS, TRENDING_POSTS
from jobs.offsets import Offsets, consumer_of, parsed, rows
from jobs.transforms.panes import dated_acts, first_hour_engagement, minute_panes
from jobs.transforms.ranking import MINUTE, PastHour, Score, best, living, rising, scored, trending

STATEMENT = Path(__file__).with_name("rankings.sql")
LOOK_BACK = 20
BOARDS = "board string, topic string, partition int, next bigint, window_end timestamp"
WEIGHTS = "like_weight int, comment_weight int, top int"
_BOARD = {TRENDING_POSTS: "trending", RISING_POSTS: "rising"}


@dataclass(frozen=True)
class Published:
    """A ranking of a result topic.

    `seen`: what had been read, empty where the header does not say; `births`: up to where creations of posts were
    births whose first hour counts, a next offset a partition of `posts`.
    """

    topic: str
    ranking: Ranking
    seen: Offsets
    births: dict[int, int]
    arrived_ms: int

    @property
    def needed(self) -> Offsets:
        """Up to where facts are to be read for it."""
        return furthest(self.seen, {"posts": self.births})

    @property
    def board(self) -> str:
        return _BOARD[self.topic]

    @property
    def hour(self) -> PastHour:
        return PastHour(parse_time(self.ranking.window_end))

    @property
    def is_of_its_hour(self) -> bool:
        """Whether the window is the hour that the contract says."""
        start, end, made = (
            parse_time(text) for text in (self.ranking.window_start, self.ranking.window_end, self.ranking.generated_at)
        )
        return end - start == timedelta(hours=1) and made < end <= made + timedelta(minutes=1) and not end.second


def with_answers(settings: Settings, url: str) -> tuple[list[Published], dict[str, Any]]:
    """`newest`, and what the feed answers by board; asked again for a while where that is none of them.

    The topics are read after the question, so that they have what came meanwhile.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answers = feed.rankings(url)
        found = newest(settings)
        if not unknown(found, answers) or time.monotonic() > deadline:
            return found, answers
        time.sleep(1)


def newest(settings: Settings) -> list[Published]:
    """The last few rankings of each topic, oldest first."""
    with closing(consumer_of(settings)) as consumer:
        found = records_of(consumer, partitions_of(consumer, _BOARD), LOOK_BACK)
        return [_published(record) for record in found if record.value is not None]


def _published(record: Any) -> Published:
    header = dict(record.headers).get(SEEN_HEADER)
    seen = parsed(read_seen(header))
    births = seen.pop(BIRTHS, seen.get("posts", {}))  # rankings of before say nothing of them
    return Published(record.topic, Ranking.model_validate_json(record.value), seen, births, record.timestamp)


def judgeable(found: list[Published]) -> list[Published]:
    """The newest ranking of each board, where it says what went in."""
    return [one for one in {one.topic: one for one in found}.values() if one.seen]


def drift(known: DataFrame, settings: Settings, wanted: list[Published], part: Part = WHOLE) -> list[str]:
    """What does not agree about posts of the part, a sentence a board and recount.

    `known`: the facts about them, as the transformations judged them; the statement reads the view `in_part`.
    """
    by_statement = _by_statement(known.sparkSession, settings, wanted) if wanted else {}
    said = []
    for one in wanted:
        posts = one.ranking.posts
        if posts != _in_order(posts)[: settings.top]:
            said.append(f"{one.board}: the ranking is not in order, or too long")
        if not one.is_of_its_hour:
            said.append(f"{one.board}: its window is not the hour to the end of the minute when it was generated")
        mine = _of_part(known.sparkSession, posts, part)
        recounts = {"statement": by_statement.get(one.board, []), "transforms": _by_transforms(known, settings, one)}
        for name, made in recounts.items():
            theirs = made if len(posts) < settings.top else _up_to(posts[-1], made)
            if theirs != mine:
                said.append(f"{one.board}: {_first_difference(mine, theirs, name)}")
    return said


def _in_order(posts: list[RankedPost]) -> list[RankedPost]:
    """The same, ranked by what they say of themselves."""
    return [post.model_copy(update={"rank": rank}) for rank, post in enumerate(sorted(posts, key=_turn), 1)]


def _turn(post: RankedPost) -> tuple[int, int, str]:
    return -post.score, -post.likes, post.post_id


def _of_part(spark: SparkSession, posts: list[RankedPost], part: Part) -> list[RankedPost]:
    """Those of the part, ranked among themselves, as recounts have them."""
    ids = spark.createDataFrame([(post.post_id,) for post in posts], "post_id string")
    found = {row.post_id for row in ids.where(part.has(F.col("post_id"))).collect()}
    return _in_order([post for post in posts if post.post_id in found])


def _up_to(last: RankedPost, made: list[RankedPost]) -> list[RankedPost]:
    """Those that have a place in a full ranking: others may be foremost in their part."""
    return [post for post in made if _turn(post) <= _turn(last)]


def _first_difference(mine: list[RankedPost], made: list[RankedPost], name: str) -> str:
    pairs = enumerate(zip_longest(mine, made), 1)
    place, (one, other) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
    return f"place {place} is {_short(one)}, the {name} make it {_short(other)}"


def _short(post: RankedPost | None) -> str:
    return f"{post.post_id} ({post.likes} likes, {post.comments} comments)" if post else "none"


def _by_statement(spark: SparkSession, settings: Settings, wanted: list[Published]) -> dict[str, list[RankedPost]]:
    cuts = [(one.board, *place, one.hour.end) for one in wanted for place in rows({**one.seen, BIRTHS: one.births})]
    spark.createDataFrame(cuts, BOARDS).createOrReplaceTempView("boards")
    weights = [(settings.like_weight, settings.comment_weight, settings.top)]
    spark.createDataFrame(weights, WEIGHTS).createOrReplaceTempView("weights")
    recount.run(spark, STATEMENT)
    found: dict[str, list[RankedPost]] = {}
    for row in spark.table("ranked").orderBy("board", "rank").collect():  # `top` rows a board
        found.setdefault(row.board, []).append(_ranked(row))
    return found


def _ranked(row: Row) -> RankedPost:
    return RankedPost(**{name: row[name] for name in RankedPost.model_fields})


def _by_transforms(known: DataFrame, settings: Settings, wanted: Published) -> list[RankedPost]:
    hour = wanted.hour
    # What is dated before has no say, a minute more: fixed-form times sort as text.
    is_recent = (F.col("topic") == "posts") | (F.col("occurred_at") >= format_time(hour.judged_from - MINUTE))
    recent = known.where(is_recent)
    judged = recent.transform(below, wanted.seen)
    posts = judged.where("topic = 'posts'")
    dated = judged.where("topic != 'posts'").transform(dated_acts)
    if wanted.board == "trending":
        engagement = dated.transform(minute_panes).transform(trending, hour)
    else:
        born = F.col("occurred_at").cast("timestamp").alias("born")
        births = recent.transform(below, {"posts": wanted.births})
        created = births.where("event_type = 'post_created'").select("post_id", born)
        engagement = first_hour_engagement(created, dated).transform(rising, hour)
    score = Score(settings.like_weight, settings.comment_weight, settings.top)
    found = best(engagement.transform(scored, score), partial(living, posts), lambda: posts, score.top)
    return found.get(wanted.board, [])


def unknown(found: list[Published], answers: dict[str, Any]) -> list[str]:
    """The boards whose answer is none of the last rankings; before the first one an empty answer is right."""
    made = {(one.board, one.ranking.generated_at) for one in found}
    begun = {one.board for one in found}
    return [
        board
        for board, answer in answers.items()
        if (board, answer["generated_at"]) not in made and (board in begun or answer["posts"])
    ]


def feed_drift(found: list[Published], answers: dict[str, Any]) -> list[str]:
    """Rankings that the feed answers with, and that are none of the topic's, or differ from that of their moment."""
    made = {(one.board, one.ranking.generated_at): one.ranking for one in found}
    said = [f"{board}: the feed's answer is none of the topic's last rankings" for board in unknown(found, answers)]
    for board, answer in answers.items():
        ranking = made.get((board, answer["generated_at"]))
        if ranking is not None and ranking != Ranking.model_validate(answer):
            said.append(f"{board}: the feed's answer is not the topic's ranking of {answer['generated_at']}")
    return said
