"""Why a number is what it is: sorts every record of a post into one class; the rules are those of docs/counting.md."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from contract.facts import (
    FACT_BY_TYPE,
    FUTURE_TOLERANCE_SECONDS,
    IDENTIFIER,
    LENGTHS,
    TIMESTAMP,
    Fact,
    parse_time,
)
from contract.results import Reason
from feeds.records import PostSeen

Class = Literal["standing", "taken_back", "redelivered", "superseded", "late", "stranger", "dead", "waiting"]
MEANING: dict[Class, str] = {
    "standing": "in the number: the post, a like that stands, a comment that stands",
    "taken_back": "rules that something does not stand: the last unlike, an author's deletion",
    "redelivered": "the same fact once more",
    "superseded": "ruled until a later fact of the same user came",
    "late": "came when a fact that overrules it was already there",
    "stranger": "about what is another user's: changes nothing",
    "dead": "no fact: it is in dead_letters, with its reason",
    "waiting": "arrived after what the published number was made from",
}
_COMMON = tuple(Fact.model_fields)


@dataclass(frozen=True)
class Archived:
    """A record of the archive that names the post. `reason` where it is no fact, else `fact` has its fields."""

    topic: str
    partition: int
    offset: int
    arrived_at: datetime
    fact: Mapping[str, Any]
    reason: Reason | None

    @property
    def arrival(self) -> tuple[datetime, str, int, int]:
        """The order in which records came."""
        return self.arrived_at, self.topic, self.partition, self.offset

    @property
    def pair(self) -> tuple[str, str, str]:
        return self.topic, self.fact["user_id"], self.fact.get("comment_id", "") if self.topic == "comments" else ""

    @property
    def turns_off(self) -> bool:
        return str(self.fact["event_type"]).endswith(("_deleted", "_unliked"))

    @property
    def order(self) -> tuple[str, str]:
        return self.fact["occurred_at"], self.fact["event_id"]


def judge(topic: str, value: bytes | None, arrived_at: datetime) -> tuple[dict[str, Any], Reason | None]:
    """The fields of a record, and why it is no fact: the first reason that applies (docs/contract.md)."""
    try:
        fact = json.loads((value or b"").decode(), **_AS_SPARK)
    except (ValueError, RecursionError):
        return {}, "not_json"
    if not isinstance(fact, dict):
        return {}, "not_json"
    return fact, _reason(topic, fact, arrived_at)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> int:
    if sum(character.isdigit() for character in text) > 1_000:
        raise ValueError("a number is too long")
    return 0  # no field of a fact is a number, whatever its value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(len(name) > 50_000 for name, _ in members):
        raise ValueError("the name of a field is too long")
    return dict(members)


_AS_SPARK: dict[str, Any] = {
    "parse_constant": _no_constant,
    "parse_int": _number,
    "parse_float": _number,
    "object_pairs_hook": _object,
}
"""With the bounds of the jobs' parser (docs/counting.md)."""


def _reason(topic: str, fact: Mapping[str, Any], arrived_at: datetime) -> Reason | None:
    event_type = fact.get("event_type")
    model = FACT_BY_TYPE.get(event_type) if isinstance(event_type, str) else None
    if event_type is not None and model is None:
        return "unknown_type"
    if model is not None and model.topic != topic:
        return "wrong_topic"
    fields = tuple(model.model_fields) if model else _COMMON
    if any(fact.get(name) is None for name in fields):
        return "missing_field"
    if not all(_is_good(name, fact[name]) for name in fields):
        return "bad_field"
    tolerated = arrived_at + timedelta(seconds=FUTURE_TOLERANCE_SECONDS)
    return "from_the_future" if parse_time(fact["occurred_at"]) > tolerated else None


def _is_good(name: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if name in LENGTHS:
        least, most = LENGTHS[name]
        return least <= len(value) <= most
    if name == "occurred_at":
        return re.fullmatch(TIMESTAMP, value) is not None and _is_moment(value)
    return re.fullmatch(IDENTIFIER, value) is not None


def _is_moment(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def classify(records: Iterable[Archived], seen: PostSeen | None) -> dict[Class, list[Archived]]:
    """Each record in the class that it is in, as of `seen`; without it everything that is archived counts."""
    classes: dict[Class, list[Archived]] = {name: [] for name in MEANING}
    pairs: dict[tuple[str, str, str], list[Archived]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.arrival):
        if record.reason is not None:
            classes["dead"].append(record)
        elif seen is not None and not _went_in(record, seen):
            classes["waiting"].append(record)
        else:
            pairs[record.pair].append(record)
    author = _author(pairs.values())
    comments = {pair[2] for pair, found in pairs.items() if pair[0] == "comments" and _has_addition(found)}
    for pair, found in pairs.items():
        _classify_pair(found, _is_strangers(pair, found, author, comments), classes)
    return classes


def _went_in(record: Archived, seen: PostSeen) -> bool:
    """A row names the newest place of the highest partition: what is in lower ones is in as well."""
    newest = seen.get(record.topic)
    return newest is not None and (record.partition, record.offset) <= tuple(newest)


def _has_addition(found: Sequence[Archived]) -> bool:
    return any(not record.turns_off for record in found)


def _author(pairs: Iterable[Sequence[Archived]]) -> str | None:
    created = [r for found in pairs for r in found if r.topic == "posts" and not r.turns_off]
    return min(created, key=lambda record: record.order).fact["user_id"] if created else None


def _is_strangers(
    pair: tuple[str, str, str], found: Sequence[Archived], author: str | None, comments: set[str]
) -> bool:
    topic, user, comment_id = pair
    if topic == "posts":
        return author is not None and user != author
    return topic == "comments" and not _has_addition(found) and comment_id in comments


def _classify_pair(found: Sequence[Archived], is_strangers: bool, classes: dict[Class, list[Archived]]) -> None:
    """In order of arrival: which rules in the end, and what the others are beside it."""
    ruler = max(found, key=_strength)
    ruling: Archived | None = None
    known: set[str] = set()
    for record in found:
        event_id = record.fact["event_id"]
        overrules = ruling is None or _strength(record) > _strength(ruling)
        if event_id in known and record is not ruler:
            classes["redelivered"].append(record)
        elif is_strangers:
            classes["stranger"].append(record)
        elif record is ruler:
            classes["taken_back" if record.turns_off else "standing"].append(record)
        else:
            classes["superseded" if overrules else "late"].append(record)
        known.add(event_id)
        ruling = record if overrules else ruling


def _strength(record: Archived) -> tuple[bool, Any]:
    """Likes: the latest rules. Else a deletion does, and of the creations the earliest."""
    if record.topic == "likes":
        return False, (*record.order, not record.turns_off)
    return record.turns_off, _Earlier(record.order)


@dataclass(frozen=True)
class _Earlier:
    """Orders the other way round."""

    order: tuple[str, str]

    def __lt__(self, other: "_Earlier") -> bool:
        return self.order > other.order
