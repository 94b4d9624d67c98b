"""Records of the result topics: what they say, or why they say nothing."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from contract.facts import Identifier
from contract.results import BIRTHS, RISING_KEY, TRENDING_KEY, PostWithCounts, Ranking
from contract.topics import RISING_POSTS, TRENDING_POSTS

Position = tuple[int, int]
PostSeen = dict[str, Position]
"""Of each fact topic the newest (partition, offset) that went into a post."""
RankingSeen = dict[str, dict[str, int]]
"""Of each fact topic and partition the next offset that was to be read."""

KEY_OF_RANKING = {TRENDING_POSTS: TRENDING_KEY, RISING_POSTS: RISING_KEY}
_INT64_MAX = 2**63 - 1
_identifier = TypeAdapter(Identifier)
_post_seen: TypeAdapter[PostSeen] = TypeAdapter(PostSeen)
_ranking_seen: TypeAdapter[RankingSeen] = TypeAdapter(RankingSeen)


class UnusableError(ValueError):
    """A record that says nothing about the view, and why."""


@dataclass(frozen=True)
class Record:
    """A Kafka record, without the client library around it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    seen: bytes | None = None


@dataclass(frozen=True)
class PostChange:
    """What a record says about a post; without a `post` it is a tombstone."""

    post_id: str
    post: PostWithCounts | None
    seen: PostSeen


@dataclass(frozen=True)
class RankingChange:
    """A new ranking of a result topic."""

    topic: str
    ranking: Ranking
    seen: RankingSeen


def post_change(record: Record) -> PostChange:
    """The change of a post that a record of `posts_with_counts` tells; UnusableError where it tells none."""
    try:
        post_id = _identifier.validate_python((record.key or b"").decode())
        post = None if record.value is None else PostWithCounts.model_validate_json(record.value)
    except ValueError as error:  # of which UnicodeDecodeError and ValidationError are kinds
        raise UnusableError(str(error)) from None
    if post is not None and post.post_id != post_id:
        raise UnusableError("the key is not the post's id")
    if post is not None and not all(0 <= number <= _INT64_MAX for number in (post.version, post.likes, post.comments)):
        raise UnusableError("the version or a count is no 64-bit number above zero")
    return PostChange(post_id, post, _seen(_post_seen, record))


def ranking_change(record: Record) -> RankingChange:
    """The ranking that a record of a ranking topic tells; UnusableError where it tells none."""
    if record.key != KEY_OF_RANKING[record.topic].encode():
        raise UnusableError("the key names no ranking")
    try:
        ranking = Ranking.model_validate_json(record.value or b"")
    except ValidationError as error:
        raise UnusableError(str(error)) from None
    return RankingChange(record.topic, ranking, _seen(_ranking_seen, record))


def is_older(seen: PostSeen, than: PostSeen) -> bool:
    """Whether fewer facts went in; false where it cannot be told. What was seen of a post only grows."""
    if not seen or not than or seen == than:
        return False
    return all(topic in than and position <= than[topic] for topic, position in seen.items())


def has_post_token(seen: PostSeen, topic: str, partition: int, offset: int) -> bool:
    """Whether the fact at this place went into the post."""
    newest = seen.get(topic)
    return newest is not None and newest[0] == partition and newest[1] >= offset


def has_ranking_token(seen: RankingSeen, topic: str, partition: int, offset: int) -> bool:
    """Whether the fact at this place had been read when the ranking was made.

    The rising ones read posts twice, for what is said of a post and for its birth: the slower one tells.
    """
    read = [topic, BIRTHS] if topic == "posts" and BIRTHS in seen else [topic]
    return all(seen.get(name, {}).get(str(partition), 0) > offset for name in read)


def _seen(adapter: TypeAdapter, record: Record):  # type: ignore[no-untyped-def, type-arg]
    try:
        return adapter.validate_json(record.seen or b"{}")
    except ValidationError:  # a foreign header is no reason to lose the record
        return {}
