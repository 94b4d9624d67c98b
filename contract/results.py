"""What the jobs publish, and what the feeds answer with."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from contract.facts import Identifier, Moment

TRENDING_KEY = "past_hour"
RISING_KEY = "first_hour"

SEEN_HEADER = "seen"
"""Kafka header of a result: which facts went into it, as JSON.

`posts_with_counts`: {topic: [partition, offset]}, the newest fact of that post seen in each topic.
`trending_posts`, `rising_posts`: {topic: {partition: next offset}}, everything read so far."""
BIRTHS = "births"
"""In the header of `rising_posts`, beside the topics: how far the query of the first hours had read `posts`."""

TERM = 1 << 40
"""A version is `term * TERM + records`: far more records than a post ever has, and exact in JSON numbers (2^53).

Each rebuild that is switched to, or back from, takes the next term: docs/decisions/rebuild-beside.md."""

Reason = Literal["not_json", "unknown_type", "wrong_topic", "missing_field", "bad_field", "from_the_future"]


class Result(BaseModel):
    """A record of a result topic; fields as in the contract, nothing more."""

    model_config = ConfigDict(frozen=True)


class PostWithCounts(Result):
    """A living post with what stands on it; counts are absolute, `version` only grows."""

    post_id: Identifier
    user_id: Identifier
    image_url: str
    caption: str
    created_at: Moment
    likes: int
    comments: int
    updated_at: Moment
    version: int


class RankedPost(Result):
    """One place of a ranking."""

    rank: int
    post_id: Identifier
    user_id: Identifier
    image_url: str
    caption: str
    likes: int
    comments: int
    score: int


class Ranking(Result):
    """The best posts of the hour [window_start, window_end), best first."""

    window_start: Moment
    window_end: Moment
    generated_at: Moment
    posts: list[RankedPost]


class DeadLetter(Result):
    """A record that is no fact, and why. `encoding` stands only where `value` is base64."""

    reason: Reason
    detail: str
    topic: str
    partition: int
    offset: int
    arrived_at: Moment
    key: str | None
    value: str | None
    encoding: Literal["base64"] | None = None
    truncated: bool | None = None


class Token(BaseModel):
    """Where a command's fact is stored. Written `topic-partition-offset-post_id`."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    post_id: Identifier

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}-{self.post_id}"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """ValueError where the text is no token."""
        parts = text.split("-", 3)
        if len(parts) != 4:
            raise ValueError("a token reads topic-partition-offset-post_id")
        topic, partition, offset, post_id = parts
        return cls(topic=topic, partition=int(partition), offset=int(offset), post_id=post_id)


def read_seen(header: bytes | None) -> dict[str, Any]:
    """The `seen` header of a result record; empty where there is none."""
    return json.loads(header) if header else {}
