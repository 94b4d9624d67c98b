"""Every Kafka topic: key, partitions, retention. `runtime.topics` creates and checks them."""

from dataclasses import dataclass, field
from datetime import timedelta

TOMBSTONES_KEPT = timedelta(days=7)
"""A reader of a compacted topic that was away for longer may have missed some."""
DAY_MS = 24 * 60 * 60 * 1000
FOREVER = "-1"
RANKING_MAX_BYTES = 32 * 1024 * 1024

POSTS_WITH_COUNTS = "posts_with_counts"
TRENDING_POSTS = "trending_posts"
RISING_POSTS = "rising_posts"
DEAD_LETTERS = "dead_letters"

_FACT = {"cleanup.policy": "delete", "retention.ms": str(365 * DAY_MS), "retention.bytes": FOREVER}
_COMPACTED = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(int(TOMBSTONES_KEPT.total_seconds() * 1_000)),
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": str(DAY_MS // 24),
}
# The top 50 may come to 1.3 MB: captions count characters, and JSON may take six bytes for one.
_RANKING = {**_COMPACTED, "max.message.bytes": str(RANKING_MAX_BYTES)}
_DEAD = {"cleanup.policy": "delete", "retention.ms": str(365 * DAY_MS)}


@dataclass(frozen=True)
class Topic:
    """A topic as it must be; `config` uses Kafka's own names."""

    name: str
    key: str
    partitions: int  # production
    embedded_partitions: int
    config: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """All topic settings; broker time is the trusted clock on every topic."""
        return {**self.config, "message.timestamp.type": "LogAppendTime"}


TOPICS: tuple[Topic, ...] = (
    Topic("posts", "user_id", 32, 4, _FACT),
    Topic("likes", "post_id", 128, 4, _FACT),
    Topic("comments", "post_id", 128, 4, _FACT),
    Topic(POSTS_WITH_COUNTS, "post_id", 128, 4, _COMPACTED),
    Topic(TRENDING_POSTS, "past_hour", 1, 1, _RANKING),
    Topic(RISING_POSTS, "first_hour", 1, 1, _RANKING),
    Topic(DEAD_LETTERS, "the original key", 32, 4, _DEAD),
)
RESULT_TOPICS = (POSTS_WITH_COUNTS, TRENDING_POSTS, RISING_POSTS)


def result_topic(name: str, beside: bool) -> str:
    """Where a job publishes: the contract's topic, or the one of what is rebuilt beside it."""
    return f"{name}-beside" if beside else name


TOPIC_BY_NAME = {topic.name: topic for topic in TOPICS}
