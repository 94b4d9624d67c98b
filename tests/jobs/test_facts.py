"""Every record is judged: a fact, or the first reason why it is none."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.transforms.facts import facts
from tests.jobs.histories import RECORD
from tests.reference_records import BASE, FURTHER, judge

pytestmark = pytest.mark.spark
ARRIVED = datetime(2026, 11, 20, 14, 0, tzinfo=timezone.utc)
LIKE = {
    "event_id": "e1",
    "event_type": "post_liked",
    "occurred_at": "2026-11-20T13:59:00.000Z",
    "user_id": "ada",
    "post_id": "p1",
}
CREATED = {**LIKE, "event_type": "post_created", "image_url": "/a.jpg", "caption": ""}
ADDED = {**LIKE, "event_type": "comment_added", "comment_id": "c1", "text": "nice"}
Record = tuple[str, bytes | None]


def judged(spark: SparkSession, records: list[Record]) -> list[str | None]:
    rows = [(topic, 0, at, ARRIVED, None, value) for at, (topic, value) in enumerate(records)]
    frame = spark.createDataFrame(rows, RECORD).transform(facts)
    return [row.reason for row in frame.select("offset", "reason").orderBy("offset").collect()]


def like(**changed: Any) -> bytes:
    return json.dumps({**LIKE, **changed}).encode()


def without(field: str) -> bytes:
    return json.dumps({name: value for name, value in LIKE.items() if name != field}).encode()


FACT = json.dumps(LIKE).encode()
HOSTILE: list[tuple[str, Record, str | None]] = [
    ("a like", ("likes", FACT), None),
    ("a post without words", ("posts", json.dumps(CREATED).encode()), None),
    ("white space around it", ("likes", b" \n" + FACT + b"\t\r\n"), None),
    ("extra fields of any kind", ("likes", like(extra={"deep": [1, {"er": None}]}, more=[1, "]"], n=1e9)), None),
    ("a nested field 500 deep", ("likes", like(extra=json.loads("[" * 500 + "]" * 500))), None),
    ("captions like JSON", ("posts", json.dumps({**CREATED, "caption": '{"a": [1]} ]}'}).encode()), None),
    ("a caption like a number", ("posts", json.dumps({**CREATED, "caption": "-1.5e3"}).encode()), None),
    ("a user named true", ("likes", like(user_id="true")), None),
    ("a user named 7", ("likes", like(user_id="7")), None),
    ("the last of two equal keys rules", ("likes", FACT[:-1] + b', "user_id": "bob"}'), None),
    ("five minutes ahead", ("likes", like(occurred_at="2026-11-20T14:05:00.000Z")), None),
    ("nothing", ("likes", None), "not_json"),
    ("empty", ("likes", b""), "not_json"),
    ("blank", ("likes", b"  \n"), "not_json"),
    ("null", ("likes", b"null"), "not_json"),
    ("a number", ("likes", b"7"), "not_json"),
    ("a list of a fact", ("likes", b"[" + FACT + b"]"), "not_json"),
    ("words behind it", ("likes", FACT + b" and more"), "not_json"),
    ("two facts", ("likes", FACT + FACT), "not_json"),
    ("two facts and a comma", ("likes", FACT + b"," + FACT), "not_json"),
    ("a bracket behind it", ("likes", FACT + b"] junk"), "not_json"),
    ("a list's end and a fact behind it", ("likes", FACT + b"],[" + FACT), "not_json"),
    ("a brace behind it", ("likes", FACT + b"}"), "not_json"),
    ("single quotes", ("likes", FACT.replace(b'"', b"'")), "not_json"),
    ("a constant that JSON lacks", ("likes", FACT[:-1] + b', "extra": NaN}'), "not_json"),
    ("a byte order mark", ("likes", b"\xef\xbb\xbf" + FACT), "not_json"),
    ("no UTF-8", ("likes", FACT.replace(b"ada", b"\xff\xfe")), "not_json"),
    ("cut in the middle", ("likes", FACT[:40]), "not_json"),
    ("10,000 levels", ("likes", FACT[:-1] + b', "extra": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"), "not_json"),
    ("an unknown type", ("likes", like(event_type="post_shared")), "unknown_type"),
    ("a type that is a number", ("likes", like(event_type=5)), "unknown_type"),
    ("an unknown type before a missing field", ("likes", b'{"event_type": "x"}'), "unknown_type"),
    ("the wrong topic", ("comments", FACT), "wrong_topic"),
    ("the wrong topic before a missing field", ("posts", without("user_id")), "wrong_topic"),
    ("no type", ("likes", without("event_type")), "missing_field"),
    ("a null type", ("likes", like(event_type=None)), "missing_field"),
    ("no post", ("likes", without("post_id")), "missing_field"),
    ("a null user", ("likes", like(user_id=None)), "missing_field"),
    ("no text", ("comments", json.dumps({**ADDED, "text": None}).encode()), "missing_field"),
    ("a missing field before a bad one", ("likes", b'{"event_type": "post_liked", "user_id": 7}'), "missing_field"),
    ("a user that is a number", ("likes", like(user_id=7)), "bad_field"),
    ("a user that is true", ("likes", like(user_id=True)), "bad_field"),
    ("a caption that is an object", ("posts", json.dumps({**CREATED, "caption": {"a": 1}}).encode()), "bad_field"),
    ("a caption that is a list", ("posts", json.dumps({**CREATED, "caption": []}).encode()), "bad_field"),
    ("a post of 65 characters", ("likes", like(post_id="p" * 65)), "bad_field"),
    ("a user with a line's end", ("likes", like(user_id="ada\n")), "bad_field"),
    ("an empty text", ("comments", json.dumps({**ADDED, "text": ""}).encode()), "bad_field"),
    ("a text that is too long", ("comments", json.dumps({**ADDED, "text": "ü" * 2_201}).encode()), "bad_field"),
    ("a megabyte of a user", ("likes", like(user_id="a" * 1_000_000)), "bad_field"),
    ("the 30th of February", ("likes", like(occurred_at="2026-02-30T00:00:00.000Z")), "bad_field"),
    ("the year 0", ("likes", like(occurred_at="0000-01-01T00:00:00.000Z")), "bad_field"),
    ("a date without milliseconds", ("likes", like(occurred_at="2026-11-20T13:59:00Z")), "bad_field"),
    ("a date with another zone", ("likes", like(occurred_at="2026-11-20T13:59:00.000+01:00")), "bad_field"),
    ("a date that is a number", ("likes", like(occurred_at=1_795_000_000)), "bad_field"),
    ("from the future", ("likes", like(occurred_at="2026-11-20T14:05:00.001Z")), "from_the_future"),
    (
        "a bad field before the future",
        ("likes", like(user_id="?", occurred_at="2999-01-01T00:00:00.000Z")),
        "bad_field",
    ),
]


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession) -> dict[str, str | None]:
    found = judged(spark, [record for _, record, _ in HOSTILE])
    return {name: reason for (name, _, _), reason in zip(HOSTILE, found, strict=True)}


@pytest.mark.parametrize(("name", "record", "reason"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_a_record_is_judged(verdicts: dict[str, str | None], name: str, record: Record, reason: str | None) -> None:
    assert judge(*record, ARRIVED) == reason, "the reference"
    assert verdicts[name] == reason


TEXTS = ["true", "1e5", "-3", "{}", "[]", "Infinity", "2026-11-20T14:05:00.000Z", "2026-11-20T24:00:00.000Z"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.text(alphabet="aZ09_-é\n{[]}\",:' ", max_size=70),
    st.sampled_from(TEXTS),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["a", "user_id"]), st.text(max_size=3), max_size=2),
)
FIELDS = sorted({*BASE, "comment_id", "text", "image_url", "caption", "extra"})


@st.composite
def mutated(draw: st.DrawFn) -> Record:
    """A fact with some fields changed or gone, and perhaps bytes changed."""
    event_type = draw(st.sampled_from(sorted(FURTHER)))
    fact: dict[str, Any] = {**CREATED, **ADDED, "event_type": event_type}
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        fact[field] = draw(VALUES)
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=1)):
        fact.pop(field, None)
    value = json.dumps(fact, ensure_ascii=draw(st.booleans())).encode()
    if draw(st.integers(0, 4)) == 0:
        at, junk = (
            draw(st.integers(0, len(value))),
            draw(st.sampled_from([b"}", b"]", b",", b'"', b"{", b" ", b"\xff", b"7"])),
        )
        value = value[:at] + junk + value[at + draw(st.integers(0, 1)) :]
    topic = FURTHER[event_type][0] if draw(st.integers(0, 9)) else draw(st.sampled_from(["posts", "likes"]))
    return topic, value


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(records=st.lists(mutated(), min_size=20, max_size=60))
def test_any_record_is_judged_as_the_contract_says(spark: SparkSession, records: list[Record]) -> None:
    found = judged(spark, records)
    expected = [judge(topic, value, ARRIVED) for topic, value in records]
    assert [pair for pair in zip(records, found, expected, strict=True) if pair[1] != pair[2]] == []


def test_arrival_is_what_the_future_is_measured_from(spark: SparkSession) -> None:
    late = ARRIVED + timedelta(minutes=5, milliseconds=1)
    occurred_at = late.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert judged(spark, [("likes", like(occurred_at=occurred_at))]) == ["from_the_future"]
