"""Rankings: sums of changes, joined with the posts that live, best first."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from contract.results import RankedPost
from jobs.transforms.counts import living_posts

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LOOKED_AT, LOOKED_UP = 4, 1.2
"""How many candidates for a place are ranked, since some may have been deleted, and of how many that is asked first."""
LookUp = Callable[[set[str]], Mapping[str, Row]]
"""Of these posts those that live, by name; see `living`."""


@dataclass(frozen=True)
class PastHour:
    """The hour that slides by the minute: [start, end), `end` being the end of a minute."""

    end: datetime

    @classmethod
    def at(cls, moment: datetime) -> "PastHour":
        """The window whose last minute `moment` is in."""
        return cls(moment.replace(second=0, microsecond=0) + MINUTE)

    @property
    def start(self) -> datetime:
        return self.end - HOUR

    @property
    def judged_from(self) -> datetime:
        """H - 1 hour, H being the full hour of the last minute: facts dated from then on judge what stands."""
        return (self.end - MINUTE).replace(minute=0) - HOUR


def trending(panes: DataFrame, hour: PastHour) -> DataFrame:
    """Engagement of the past hour by post: (board, post_id, born, likes, comments)."""
    is_judged_here = F.col("judged_from") == F.lit(hour.judged_from)
    in_hour = (F.col("minute") >= F.lit(hour.start)) & (F.col("minute") < F.lit(hour.end))
    whenever = F.lit(None).cast("timestamp").alias("born")
    return _by_post(panes.where(is_judged_here & in_hour).select("*", whenever), "trending")


def rising(engagement: DataFrame, hour: PastHour) -> DataFrame:
    """Engagement within their first hour, of the posts born in this one, as `trending` has it."""
    is_young = (F.col("born") >= F.lit(hour.start)) & (F.col("born") < F.lit(hour.end))
    return _by_post(engagement.where(is_young), "rising")


def added(*engagement: DataFrame) -> DataFrame:
    """What `trending` says of several parts of the changes, as it would say it of all."""
    return _summed(reduce(DataFrame.unionByName, engagement))


def _by_post(changes: DataFrame, board: str) -> DataFrame:
    return _summed(changes.withColumn("board", F.lit(board)))


def _summed(changes: DataFrame) -> DataFrame:
    sums = F.sum("likes").alias("likes"), F.sum("comments").alias("comments")
    return changes.groupBy("board", "post_id", "born").agg(*sums)


@dataclass(frozen=True)
class Score:
    """What engagement is worth, and how many posts a ranking has."""

    like_weight: int
    comment_weight: int
    top: int


def scored(engagement: DataFrame, score: Score) -> DataFrame:
    """Posts with a score above 0."""
    points = F.col("likes") * score.like_weight + F.col("comments") * score.comment_weight
    return engagement.withColumn("score", points).where(F.col("score") > 0)


def best(
    candidates: DataFrame, look_up: LookUp, post_facts: Callable[[], DataFrame], top: int
) -> dict[str, list[RankedPost]]:
    """The `top` living posts of each board, best first; born at another time than its post, one is none.

    Ties go by likes, then to the smaller post_id (docs/counting.md). Of the posts of all time only the foremost
    candidates are looked up, by name: what has none of them need not be read. Where too few of those live, since
    anybody may like what there is not, Spark joins all candidates with all posts of `post_facts`.
    """
    looked_at = LOOKED_AT * top
    foremost = candidates.transform(_foremost, looked_at).collect()
    boards = Counter(row.board for row in foremost)
    for place in (int(LOOKED_UP * top), looked_at):
        found = _found([row for row in foremost if row.place <= place], look_up, top)
        if all(len(found[board]) == top or boards[board] < min(place + 1, looked_at) for board in boards):
            return found
    return _found(candidates.transform(_of_living, post_facts()).transform(_foremost, top).collect(), look_up, top)


def _found(foremost: list[Row], look_up: LookUp, top: int) -> dict[str, list[RankedPost]]:
    posts = look_up({row.post_id for row in foremost})
    boards = {row.board for row in foremost}
    return {board: _ranked([row for row in foremost if row.board == board], posts, top) for board in boards}


def _of_living(candidates: DataFrame, post_facts: DataFrame) -> DataFrame:
    created = F.col("created_at").cast("timestamp").alias("created")
    posts = living_posts(post_facts).select("post_id", created)
    return candidates.join(posts, "post_id").where("born IS NULL OR born = created").drop("created")


def _foremost(candidates: DataFrame, count: int) -> DataFrame:
    best_first = F.desc("score"), F.desc("likes"), F.asc("post_id")
    place = F.row_number().over(Window.partitionBy("board").orderBy(*best_first))
    foremost = candidates.withColumn("place", place).where(F.col("place") <= count)
    return foremost.withColumn("born", F.unix_micros("born"))


def living(post_facts: DataFrame, post_ids: set[str]) -> dict[str, Row]:
    """Of these posts those that live, by name; as `living_posts` has them, and `born`, microseconds since 1970."""
    # Identifiers have no quotes. One partition for the few facts of these: no shuffle between two aggregates.
    is_one_of_them = f"post_id IN ({', '.join(map(repr, sorted(post_ids)))})" if post_ids else "false"
    posts = post_facts.where(is_one_of_them).repartition(1).transform(living_posts)
    rows = posts.withColumn("born", F.unix_micros(F.col("created_at").cast("timestamp"))).collect()
    return {row.post_id: row for row in rows}


def _ranked(foremost: list[Row], posts: Mapping[str, Row], top: int) -> list[RankedPost]:
    best_first = sorted(foremost, key=lambda row: row.place)
    alive = [
        (row, posts[row.post_id])
        for row in best_first
        if row.post_id in posts and row.born in (None, posts[row.post_id].born)
    ]
    return [
        RankedPost(
            rank=rank,
            post_id=post.post_id,
            user_id=post.user_id,
            image_url=post.image_url,
            caption=post.caption,
            likes=row.likes,
            comments=row.comments,
            score=row.score,
        )
        for rank, (row, post) in enumerate(alive[:top], 1)
    ]
