"""Facts are as the contract says, field by field and edge by edge."""

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from contract.facts import FACT_BY_TYPE, Fact, format_time, new_event_id, parse_time

COMMON = {
    "event_id": "e1",
    "occurred_at": "2026-11-20T14:00:00.000Z",
    "user_id": "ada",
    "post_id": "p1",
}
# type: topic, field that is the key, further fields
TABLE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "post_created": ("posts", "user_id", {"image_url": "/a.jpg", "caption": ""}),
    "post_deleted": ("posts", "user_id", {}),
    "post_liked": ("likes", "post_id", {}),
    "post_unliked": ("likes", "post_id", {}),
    "comment_added": ("comments", "post_id", {"comment_id": "c1", "text": "nice"}),
    "comment_deleted": ("comments", "post_id", {"comment_id": "c1"}),
}
IDENTIFIERS = ["event_id", "user_id", "post_id", "comment_id"]


def fact(event_type: str, **changed: Any) -> Fact:
    body = {**COMMON, "event_type": event_type, **TABLE[event_type][2], **changed}
    return FACT_BY_TYPE[event_type].model_validate(body)


def test_there_are_these_types_and_no_others() -> None:
    assert set(FACT_BY_TYPE) == set(TABLE)


@pytest.mark.parametrize("event_type", TABLE)
def test_fields_topic_and_key(event_type: str) -> None:
    topic, key, further = TABLE[event_type]
    made = fact(event_type)
    assert made.model_dump() == {**COMMON, "event_type": event_type, **further}
    assert made.topic == topic
    assert made.key == getattr(made, key)


@pytest.mark.parametrize("event_type", TABLE)
def test_no_field_may_be_missing_or_null(event_type: str) -> None:
    for name in {*COMMON, *TABLE[event_type][2]}:
        whole = {**COMMON, "event_type": event_type, **TABLE[event_type][2]}
        missing = {field: value for field, value in whole.items() if field != name}
        for body in (missing, {**whole, name: None}):
            with pytest.raises(ValidationError, match=name):
                FACT_BY_TYPE[event_type].model_validate(body)


@pytest.mark.parametrize("value", ["a", "Z", "0", "_", "-", "a" * 64, "018f-_Az"])
def test_identifiers(value: str) -> None:
    assert fact("comment_added", **dict.fromkeys(IDENTIFIERS, value)).user_id == value


@pytest.mark.parametrize("value", ["", "a" * 65, "a b", "a\n", "\na", "é", "a/b", "a.b", "a\0", 7, True, ["a"], "ａ"])
@pytest.mark.parametrize("field", IDENTIFIERS)
def test_no_identifiers(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        fact("comment_added", **{field: value})


@pytest.mark.parametrize(
    "value",
    ["2026-11-20T14:00:00.000Z", "2024-02-29T00:00:00.000Z", "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"],
)
def test_moments(value: str) -> None:
    assert format_time(parse_time(fact("post_liked", occurred_at=value).occurred_at)) == value


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T14:00:00Z",
        "2026-11-20T14:00:00.000+00:00",
        "2026-11-20 14:00:00.000Z",
        "2026-11-20T14:00:00.000000Z",
        "2026-02-29T14:00:00.000Z",
        "2026-11-20T24:00:00.000Z",
        "2026-11-20T23:59:60.000Z",
        "0000-01-01T00:00:00.000Z",
        "2026-11-20T14:00:00.000Z\n",
        "٢٠٢٦-11-20T14:00:00.000Z",
        1795183200000,
    ],
)
def test_no_moments(value: Any) -> None:
    with pytest.raises(ValidationError, match="occurred_at"):
        fact("post_liked", occurred_at=value)


@pytest.mark.parametrize(
    ("event_type", "field", "shortest", "longest"),
    [
        ("post_created", "image_url", 0, 2_048),
        ("post_created", "caption", 0, 2_200),
        ("comment_added", "text", 1, 2_200),
    ],
)
def test_lengths_are_in_characters(event_type: str, field: str, shortest: int, longest: int) -> None:
    for length in (shortest, longest):
        assert fact(event_type, **{field: "😀" * length})
    with pytest.raises(ValidationError, match=field):
        fact(event_type, **{field: "😀" * (longest + 1)})
    if shortest:
        with pytest.raises(ValidationError, match=field):
            fact(event_type, **{field: ""})


def test_extra_fields_are_kept() -> None:
    assert fact("post_liked", device={"os": "x"}).model_dump()["device"] == {"os": "x"}


def test_event_ids_are_uuids_of_version_7_and_grow() -> None:
    made = [new_event_id() for _ in range(1_000)]
    assert sorted(set(made)) == made
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in made
    )


def test_times_are_written_in_utc_and_milliseconds() -> None:
    moment = datetime(2026, 11, 20, 15, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(moment) == "2026-11-20T14:00:00.001Z"
