"""What is a fact and what is not (docs/counting.md, rule 8), taken literally, by Python's own JSON."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

BASE = ("event_id", "event_type", "occurred_at", "user_id", "post_id")
FURTHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "post_created": ("posts", ("image_url", "caption")),
    "post_deleted": ("posts", ()),
    "post_liked": ("likes", ()),
    "post_unliked": ("likes", ()),
    "comment_added": ("comments", ("comment_id", "text")),
    "comment_deleted": ("comments", ("comment_id",)),
}
# Where the jobs' parser ends (docs/counting.md): beyond this nothing is looked at.
DEPTH_MAX, DIGITS_MAX, NAME_MAX = 1_000, 1_000, 50_000
LENGTHS = {"image_url": (0, 2_048), "caption": (0, 2_200), "text": (1, 2_200)}


def judge(topic: str, value: bytes | None, arrived_at: datetime) -> str | None:
    """The first reason that applies, or None for a fact."""
    try:
        text = (value or b"").decode("utf-8")
        if _depth(text) > DEPTH_MAX:
            return "not_json"
        fact = json.loads(
            text, parse_constant=_no_constant, parse_int=_digits, parse_float=_digits, object_pairs_hook=_names
        )
    except (ValueError, RecursionError):
        return "not_json"
    if not isinstance(fact, dict):
        return "not_json"
    event_type = fact.get("event_type")
    if event_type is not None and not (isinstance(event_type, str) and event_type in FURTHER):
        return "unknown_type"
    if event_type is not None and FURTHER[event_type][0] != topic:
        return "wrong_topic"
    fields = BASE + (FURTHER[event_type][1] if event_type else ())
    if any(fact.get(name) is None for name in fields):
        return "missing_field"
    if not all(_is_good(name, fact[name]) for name in fields):
        return "bad_field"
    return "from_the_future" if _moment(fact["occurred_at"]) > arrived_at + timedelta(minutes=5) else None


def _depth(text: str) -> int:
    """How many lists and objects are open at once at the most."""
    depth = deepest = 0
    for bracket in re.sub(r'"(?:\\.|[^"\\])*"|[^\[\]{}]', "", text, flags=re.DOTALL):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _digits(number: str) -> float:
    if len(re.sub("[^0-9]", "", number)) > DIGITS_MAX:
        raise ValueError("the number is too long")
    return float(number)


def _names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(len(name) > NAME_MAX for name, _ in pairs):
        raise ValueError("the name of a field is too long")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_good(name: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if name == "occurred_at":
        return _is_moment(value)
    if name in LENGTHS:
        least, most = LENGTHS[name]
        return least <= len(value) <= most
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is not None


def _is_moment(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", text):
        return False
    try:
        _moment(text)
    except ValueError:
        return False
    return True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
