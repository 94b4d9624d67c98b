"""Each record is in one class, and the sums close, whatever happened; the answer is bounded."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings

from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, parse_time
from contract.results import TERM, PostWithCounts
from feeds import explain, refresh_feed
from feeds.explaining import Archived, classify, judge
from feeds.records import PostSeen
from service.app import build_app
from tests import reference
from tests.feeds.samples import body, row, tombstone
from tests.feeds.serving import served
from tests.jobs.histories import NOON, Fact, fact, histories
from tests.jobs.test_facts import HOSTILE, Record, mutated
from tests.jobs.test_poison import POISON, topic_of
from tests.reference_records import judge as judge_by_reference

ARRIVED = datetime(2026, 11, 20, 14, 0, tzinfo=timezone.utc)


def archived(history: list[Fact], first: int = 0) -> list[Archived]:
    """As they arrived, one a second, each topic in one partition."""
    return [
        Archived(FACT_BY_TYPE[f["event_type"]].topic, 0, at, ARRIVED + timedelta(seconds=at), f, None)
        for at, f in enumerate(history, first)
    ]


def like(event_id: str, second: int, user: str = "bob", event_type: str = "post_liked") -> Fact:
    return fact(event_type, event_id, NOON + timedelta(seconds=second), user)


def comment(event_type: str, user: str, event_id: str) -> Fact:
    return fact(event_type, event_id, NOON, user, comment_id="c1")


def created(user: str, second: int, event_id: str = "e0") -> Fact:
    return like(event_id, second, user, "post_created")


def classes(*history: Fact, seen: PostSeen | None = None) -> dict[str, list[int]]:
    """Which of the records, by their place, are in which class."""
    found = classify(archived(list(history)), seen)
    return {name: [record.offset for record in records] for name, records in found.items() if records}


def test_of_a_pair_one_rules_and_the_others_say_what_became_of_them() -> None:
    history = [like("a", 1), like("a", 1), like("b", 9), like("c", 5, event_type="post_unliked")]
    assert classes(*history) == {"superseded": [0], "redelivered": [1], "standing": [2], "late": [3]}


def test_late_is_whatever_could_not_rule_when_it_came() -> None:
    assert classes(like("a", 9), like("b", 1), like("c", 5)) == {"standing": [0], "late": [1, 2]}


def test_an_unlike_that_rules_took_the_like_back() -> None:
    assert classes(like("a", 1), like("b", 2, event_type="post_unliked")) == {"superseded": [0], "taken_back": [1]}


def test_a_strangers_deletion_is_a_strangers() -> None:
    history = [comment("comment_added", "bob", "a"), comment("comment_deleted", "eve", "b")]
    assert classes(*history) == {"standing": [0], "stranger": [1]}
    theirs = like("x", 3, "eve", "post_deleted")
    assert classes(created("ada", 1), theirs, created("eve", 2, "e9")) == {"standing": [0], "stranger": [1, 2]}


def test_a_deletion_that_came_first_makes_the_addition_late() -> None:
    history = [comment("comment_deleted", "bob", "b"), comment("comment_added", "bob", "a")]
    assert classes(*history) == {"taken_back": [0], "late": [1]}


def test_what_arrived_after_the_published_row_waits() -> None:
    history = [created("ada", 0), like("a", 1), like("b", 2, "cy")]
    assert classes(*history, seen={"posts": (0, 0), "likes": (0, 1)}) == {"standing": [0, 1], "waiting": [2]}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(history=histories())
def test_the_sums_close_on_any_history(history: list[Fact]) -> None:
    expected = reference.posts_with_counts(history)
    for post_id in {one["post_id"] for one in history}:
        mine = [one for one in history if one["post_id"] == post_id]
        found = classify(archived(mine), None)
        places = [record.offset for records in found.values() for record in records]
        assert sorted(places) == list(range(len(mine)))
        standing = [record.topic for record in found["standing"]]
        if post_id in expected:
            assert standing.count("likes") == expected[post_id].likes
            assert standing.count("comments") == expected[post_id].comments
            assert standing.count("posts") == 1
        pairs = {record.pair for record in archived(mine)}
        assert sum(len(found[name]) for name in ("standing", "taken_back")) <= len(pairs)


@pytest.mark.parametrize(("name", "record", "reason"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_each_hostile_record_has_its_reason(name: str, record: Record, reason: str | None) -> None:
    assert judge(*record, ARRIVED)[1] == reason, name


@pytest.mark.parametrize(("name", "value", "reason"), POISON, ids=[name for name, _, _ in POISON])
def test_poison_has_its_reason(name: str, value: bytes, reason: str | None) -> None:
    assert judge(topic_of(value), value, ARRIVED)[1] == reason, name


@settings(max_examples=300, deadline=None, derandomize=True)
@given(record=mutated())
def test_any_record_has_the_reason_of_the_contract(record: Record) -> None:
    assert judge(*record, ARRIVED)[1] == judge_by_reference(*record, ARRIVED)


class Here:
    """The refresh feed with an archive that the test writes."""

    def __init__(self, folder: Path, url: str, feed: Any) -> None:
        self.folder, self.feed = folder, feed
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=20)

    def archive(self, *values: bytes, topic: str = "likes", first: int = 0) -> None:
        columns: dict[str, list[Any]] = {
            "topic": [topic] * len(values),
            "partition": [0] * len(values),
            "offset": list(range(first, first + len(values))),
            "arrived_at": [ARRIVED + timedelta(seconds=first + at) for at in range(len(values))],
            "key": [b"k"] * len(values),
            "value": list(values),
        }
        write_deltalake(self.folder / "lake" / "events", pa.table(columns), mode="append")

    def publish(self, version: int, seen: PostSeen, **fields: Any) -> None:
        self.feed.apply([row("p1", version, seen, **fields)], {("posts_with_counts", 0): version})

    def ask(self, post_id: str = "p1", **query: int) -> Any:
        return self.http.get(f"/posts/{post_id}/explain", params=query)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    app = build_app(
        [refresh_feed.SERVICE], Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:1", wait_seconds=0.5)
    )
    with served(app) as url:
        app.state.refresh_feed.view.touch()
        one = Here(tmp_path, url, app.state.refresh_feed)
        yield one
        one.http.close()


def written(*facts: Fact) -> list[bytes]:
    return [json.dumps(fact).encode() for fact in facts]


def test_the_answer_names_every_record_of_the_post_and_no_other(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    escaped = json.dumps(like("b", 2, "cy")).replace('"p1"', '"\\u00701"').encode()
    others = written({**like("o", 1), "post_id": "p11"}, {**like("o2", 1), "user_id": "p1", "post_id": "p2"})
    here.archive(*written(like("a", 1)), escaped, *others, b'{"post_id": "p1"}', b'junk of "p1"', b'junk of "p10"')
    here.publish(3, {"posts": (0, 0), "likes": (0, 1)}, likes=2, comments=0)
    found = here.ask().json()
    assert {name: group["count"] for name, group in found["classes"].items() if group["count"]} == {
        "standing": 3,
        "dead": 2,
    }
    assert (found["records"], found["closes"], found["behind"]) == (5, True, 0)
    assert [place["reason"] for place in found["classes"]["dead"]["newest"]] == ["not_json", "missing_field"]
    newest = found["classes"]["standing"]["newest"]
    first = next(place for place in newest if place["event_id"] == "a")
    assert (first["topic"], first["partition"], first["offset"], first["user_id"]) == ("likes", 0, 0, "bob")
    assert parse_time(first["arrived_at"]) == ARRIVED


def test_an_archive_that_is_behind_is_said_and_closes_nothing(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    here.publish(3, {"posts": (0, 0), "likes": (0, 5)}, likes=2, comments=0)
    found = here.ask().json()
    assert (found["behind"], found["closes"]) == (2, False)


def test_the_sums_close_after_a_rebuild_took_the_next_term(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    here.archive(*written(like("a", 1)))
    here.publish(3 * TERM + 2, {"posts": (0, 0), "likes": (0, 0)}, likes=1, comments=0)
    found = here.ask().json()
    assert (found["behind"], found["closes"]) == (0, True)


def test_records_that_were_erased_with_their_user_are_not_waited_for(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    here.archive(*written(like("a", 1)), first=2)
    gone = {"topic": ["likes"] * 4, "partition": [0] * 4, "offset": [0, 1, 1, 9], "post_id": ["p1", "p1", "p1", "p2"]}
    write_deltalake(here.folder / "lake" / "erased", pa.table(gone))  # one of them by two users' erasures
    here.publish(4, {"posts": (0, 0), "likes": (0, 2)}, likes=1, comments=0)
    assert [here.ask().json()[name] for name in ("erased", "behind", "closes")] == [2, 0, True]
    here.publish(5, {"posts": (0, 0), "likes": (0, 3)}, likes=2, comments=0)
    assert [here.ask().json()[name] for name in ("erased", "behind", "closes")] == [2, 1, False]
    here.publish(TERM + 3, {"posts": (0, 0), "likes": (0, 3)}, likes=2, comments=0)  # counted anew without those
    assert [here.ask().json()[name] for name in ("erased", "behind", "closes")] == [2, 1, False]


def test_a_published_number_that_no_facts_make_does_not_close(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    here.archive(*written(like("a", 1)))
    here.publish(2, {"posts": (0, 0), "likes": (0, 0)}, likes=42, comments=0)
    found = here.ask().json()
    assert (found["behind"], found["closes"]) == (0, False)


def test_a_post_that_is_published_though_its_author_deleted_it_does_not_close(here: Here) -> None:
    here.archive(*written(created("ada", 0), like("x", 1, "ada", "post_deleted")), topic="posts")
    here.publish(2, {"posts": (0, 1)}, likes=0, comments=0)
    found = here.ask().json()
    assert (found["behind"], found["closes"]) == (0, False)


def test_a_deleted_post_can_be_explained_and_an_unknown_one_is_404(here: Here) -> None:
    here.archive(*written(created("ada", 0), like("x", 1, "ada", "post_deleted")), topic="posts")
    here.feed.apply([tombstone("p1")], {("posts_with_counts", 0): 1})
    found = here.ask().json()
    assert found["published"] is None
    assert found["classes"]["taken_back"]["posts"] == 1
    assert here.ask("p2").status_code == 404
    assert here.ask("p" * 65).status_code == 422


def test_so_many_records_are_named_and_no_more(here: Here) -> None:
    here.archive(*written(*(like(f"e{at}", 1, f"u{at}") for at in range(30))))
    found = here.ask(newest=3).json()
    assert found["classes"]["standing"]["count"] == 30
    assert [place["offset"] for place in found["classes"]["standing"]["newest"]] == [29, 28, 27]
    assert here.ask(newest=101).status_code == 422


def test_a_post_with_too_many_records_is_refused(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "MOST_RECORDS", 5)
    here.archive(*written(*(like(f"e{at}", 1, f"u{at}") for at in range(6))))
    answer = here.ask()
    assert answer.status_code == 422
    assert "more than 5 records" in answer.json()["detail"]


def test_an_answer_that_takes_too_long_and_one_without_an_archive_is_refused(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.ask().status_code == 404
    monkeypatch.setattr(explain, "SECONDS", -1.0)
    here.archive(*written(like("a", 1)))
    assert here.ask().status_code == 503


def test_only_some_explanations_are_made_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_places", threading.BoundedSemaphore(1))
    with explain._places:
        busy = here.ask()
    assert busy.status_code == 503
    assert busy.headers["retry-after"] == "2"
    here.archive(*written(like("a", 1)))
    assert here.ask().status_code == 200


def test_of_one_address_one_explanation_is_made_at_a_time(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.archive(*written(like("a", 1)))
    monkeypatch.setattr(explain, "_asking", {"127.0.0.1"})
    busy = here.ask()
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "2")
    explain._asking.clear()
    assert [here.ask().status_code for _ in "abc"] == [200] * 3
    assert not explain._asking


def test_half_a_surrogate_in_a_dead_record_is_told_as_what_can_be_written(here: Here) -> None:
    here.archive(*written({**like("a", 1), "user_id": "\ud800!"}))
    [place] = here.ask().json()["classes"]["dead"]["newest"]
    assert place["user_id"] == "?!"


def test_what_is_published_has_the_fields_of_the_contract(here: Here) -> None:
    here.archive(*written(created("ada", 0)), topic="posts")
    here.publish(1, {"posts": (0, 0)}, likes=0, comments=0)
    assert here.ask().json()["published"] == PostWithCounts(**body("p1", 1, likes=0, comments=0)).model_dump()
