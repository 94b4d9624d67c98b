"""Rankings: sums of changes, joined with the posts that live, best first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contract.results import RankedPost
from jobs.transforms.counts import count

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
    """Engagement of the past hour by post."""
    is_judged_here = F.col("judged_from") == F.lit(hour.judged_from)
    in_hour = (F.col("minute") >= F.lit(hour.start)) & (F.col("minute") < F.lit(hour.end))
    return panes.where(is_judged_here & in_hour).groupBy("post_id").agg(*_sums())


def rising(engagement: DataFrame, hour: PastHour) -> DataFrame:
    """Engagement within their first hour, of the posts born in this one."""
    is_young = (F.col("born") >= F.lit(hour.start)) & (F.col("born") < F.lit(hour.end))
    return engagement.where(is_young).groupBy("post_id", "born").agg(*_sums())


def _sums():  # type: ignore[no-untyped-def]
    return F.sum("likes").alias("likes"), F.sum("comments").alias("comments")


def ranked(engagement: DataFrame, post_facts: DataFrame, like_weight: int, comment_weight: int, top: int) -> DataFrame:
    """The best living posts (contract: section 3): score, then likes, then the smaller post_id."""
    score = F.col("likes") * like_weight + F.col("comments") * comment_weight
    candidates = engagement.withColumn("score", score).where(F.col("score") > 0)
    facts = post_facts.join(F.broadcast(candidates.select("post_id").distinct()), "post_id", "left_semi")
    posts = facts.transform(count).where("alive").select("post_id", "user_id", "image_url", "caption", "created_at")
    is_same = candidates["post_id"] == posts["post_id"]
    if "born" in candidates.columns:
        is_same = is_same & (candidates["born"] == posts["created_at"].cast("timestamp"))
    best = (
        candidates.join(posts, is_same)
        .drop(candidates["post_id"])
        .orderBy(F.desc("score"), F.desc("likes"), "post_id")
        .limit(top)
    )
    fields = [name for name in RankedPost.model_fields if name != "rank"]
    return best.select(*fields)
