"""Rankings: sums of changes, joined with the posts that live, best first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contract.results import RankedPost
from jobs.transforms.counts import living_posts

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


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


def _by_post(changes: DataFrame, board: str) -> DataFrame:
    sums = F.sum("likes").alias("likes"), F.sum("comments").alias("comments")
    return changes.groupBy(F.lit(board).alias("board"), "post_id", "born").agg(*sums)


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


def ranked(candidates: DataFrame, post_facts: DataFrame, top: int) -> DataFrame:
    """The best living posts of each board, with their rank; born at another time than its post, one is none.

    Ties go by likes, then to the smaller post_id (contract, section 3).
    """
    alive = candidates.join(F.broadcast(_living(post_facts, candidates)), "post_id").where(_is_this_creation())
    best_first = F.desc("score"), F.desc("likes"), F.asc("post_id")
    place = F.row_number().over(Window.partitionBy("board").orderBy(*best_first))
    return alive.withColumn("rank", place).where(F.col("rank") <= top).select("board", *RankedPost.model_fields)


def _living(post_facts: DataFrame, wanted: DataFrame) -> DataFrame:
    facts = post_facts.join(F.broadcast(wanted.select("post_id")), "post_id", "left_semi")
    # One partition for the few posts that are left: no shuffle between the two aggregates.
    return facts.repartition(1).transform(living_posts)


def _is_this_creation() -> Column:
    return F.col("born").isNull() | (F.col("born") == F.col("created_at").cast("timestamp"))
