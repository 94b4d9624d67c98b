"""What a record of a result topic says, and what is no such record."""

import json

import pytest

from contract.topics import POSTS_WITH_COUNTS
from feeds.records import Record, UnusableError, is_older, post_change, ranking_change
from tests.feeds.samples import body, ranking, record, row, tombstone


def test_a_row_tells_a_post_and_what_was_seen() -> None:
    change = post_change(row("p1", 3, {"likes": (2, 70)}))
    assert change.post is not None
    assert (change.post_id, change.post.version, change.seen) == ("p1", 3, {"likes": (2, 70)})


def test_a_null_value_is_a_tombstone() -> None:
    assert post_change(tombstone("p1")).post is None


def test_a_post_carries_the_fields_of_the_contract_and_no_more() -> None:
    change = post_change(row("p1", more="x"))
    assert change.post is not None
    assert set(json.loads(change.post.model_dump_json())) == set(body())


@pytest.mark.parametrize(
    "unusable",
    [
        record("p1", b"not json"),
        record("p1", b"\xff\xfe"),
        record("p1", b"[]"),
        record("p1", b""),
        record("p1", b"{}"),
        record("p1", json.dumps(body("another")).encode()),
        record("no identifier", None),
        row("p1", 2**63),
        row("p1", -1),
        row("p1", 2**70),
        row("p1", likes=-1),
        row("p1", comments=2**64),
        row("p1", likes=1.5),
        row("p1", likes=None),
        row("p1", user_id="<script>"),
        row("p1", caption=7),
        record("p1", json.dumps(body()).encode().replace(b"ada", b"\xff")),
        record("p1", json.dumps(body()).encode().replace(b'"likes": 1', b'"likes": NaN')),
        record("p1", b"x" * 1_000_000),
        row("p1", created_at="yesterday"),
        Record(POSTS_WITH_COUNTS, 0, 0, None, None),
        Record(POSTS_WITH_COUNTS, 0, 0, b"\xff", None),
        record("p1", b'{"a":' * 100_000),
    ],
    ids=str,
)
def test_garbage_is_unusable(unusable: Record) -> None:
    with pytest.raises(UnusableError):
        post_change(unusable)


@pytest.mark.parametrize(
    "seen", [b"[]", b"\xff", b"null", b"{", b'{"likes": 7}', b"[" * 50_000, b'{"likes": [-1, 1e400]}']
)
def test_garbage_in_a_header_is_passed_over(seen: bytes) -> None:
    sound = row("p1")
    assert post_change(Record(sound.topic, 0, 0, sound.key, sound.value, seen)).seen == {}


def test_a_foreign_header_does_not_lose_the_record() -> None:
    sound = row("p1")
    foreign = Record(sound.topic, 0, 0, sound.key, sound.value, b"traceparent")
    assert post_change(foreign).seen == {}


def test_a_ranking_under_another_key_is_unusable() -> None:
    with pytest.raises(UnusableError):
        ranking_change(ranking("2026-11-20T14:00:00.000Z", key="another"))


def test_what_was_seen_tells_older_from_newer() -> None:
    older, newer = {"likes": (0, 5)}, {"likes": (0, 6), "posts": (1, 1)}
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)
    assert not is_older({}, newer)
