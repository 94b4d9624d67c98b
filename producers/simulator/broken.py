"""Records that are no facts: one for each reason that a record has to end among the dead letters."""

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from contract.facts import Fact, format_time, parse_time
from producers.publisher import Record

Break = Callable[[random.Random, Fact], Record]


def _not_json(rng: random.Random, fact: Fact) -> Record:
    return Record.of(fact)._replace(value=rng.choice([b"{not json", b"\xff\xfe\x00", b"[]", b"", b"null"]))


def _unknown_type(rng: random.Random, fact: Fact) -> Record:
    return _changed(fact, event_type=rng.choice(["post_shared", "POST_LIKED", ""]))


def _wrong_topic(rng: random.Random, fact: Fact) -> Record:
    others = [topic for topic in ("posts", "likes", "comments") if topic != fact.topic]
    return Record.of(fact)._replace(topic=rng.choice(others))


def _missing_field(rng: random.Random, fact: Fact) -> Record:
    return _changed(fact, **{rng.choice(["event_id", "occurred_at", "user_id", "post_id"]): None})


def _bad_field(rng: random.Random, fact: Fact) -> Record:
    wrong: list[dict[str, Any]] = [
        {"user_id": "not an identifier"},
        {"post_id": 42},
        {"occurred_at": "yesterday"},
        {"event_id": "x" * 65},
    ]
    return _changed(fact, **rng.choice(wrong))


def _from_the_future(rng: random.Random, fact: Fact) -> Record:
    ahead = timedelta(days=rng.randint(365, 3_650))  # of a backfill too: its facts are dated in the past
    return _changed(fact, occurred_at=format_time(parse_time(fact.occurred_at) + ahead))


BREAKS: dict[str, Break] = {
    "not_json": _not_json,
    "unknown_type": _unknown_type,
    "wrong_topic": _wrong_topic,
    "missing_field": _missing_field,
    "bad_field": _bad_field,
    "from_the_future": _from_the_future,
}


def _changed(fact: Fact, **changes: Any) -> Record:
    value = {**fact.model_dump(), **changes}
    return Record.of(fact)._replace(value=json.dumps(value).encode())
