"""Who may do what in Kafka: each service and job is a principal of its own. `runtime.access` grants just this.

Where the cluster asks nobody who they are (`MSM_KAFKA_SECURITY=none`), none of it applies.
"""

from dataclasses import dataclass

from contract.facts import FACT_TOPICS
from contract.topics import DEAD_LETTERS, POSTS_WITH_COUNTS, RISING_POSTS, TOPIC_BY_NAME, TRENDING_POSTS, result_topic

ADMIN = "admin"
"""The only one that makes and changes topics, users and rights: a super user of the embedded broker."""
AUDITOR = "auditor"
"""Reads everything, writes nothing."""


@dataclass(frozen=True)
class Principal:
    """A user of Kafka, and the topics that it may read and write.

    Nobody here needs a consumer group: jobs keep offsets in their checkpoints, feeds in their views.
    """

    name: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def _with_beside(*topics: str) -> tuple[str, ...]:
    """What a job publishes, and what it publishes while it rebuilds beside the live one."""
    return (*topics, *(result_topic(topic, True) for topic in topics))


PRINCIPALS: tuple[Principal, ...] = (
    Principal("posting", writes=("posts",)),
    Principal("likes", writes=("likes",)),
    Principal("comments", writes=("comments",)),
    Principal(
        "posts_with_counts",
        reads=(*FACT_TOPICS, *_with_beside(POSTS_WITH_COUNTS)),
        writes=_with_beside(POSTS_WITH_COUNTS),
    ),
    Principal("trending_posts", reads=FACT_TOPICS, writes=_with_beside(TRENDING_POSTS, RISING_POSTS)),
    Principal("archive", reads=(*FACT_TOPICS, POSTS_WITH_COUNTS, DEAD_LETTERS), writes=(DEAD_LETTERS,)),
    Principal("refresh_feed", reads=(POSTS_WITH_COUNTS,)),
    Principal("trending_feed", reads=(TRENDING_POSTS, RISING_POSTS)),
    Principal("simulator", writes=FACT_TOPICS),
    Principal(AUDITOR, reads=tuple(TOPIC_BY_NAME)),
)
PRINCIPAL_BY_NAME = {principal.name: principal for principal in PRINCIPALS}
