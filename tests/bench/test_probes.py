"""Which like is in which row, and what is said of so many latencies."""

from pathlib import Path

import pytest

from bench.live import Pace, Reading, Traffic
from bench.probes import Mark, Seen, Sent, Unmatched, append, first_marks, first_rows, percentiles, read_lines


def likes(post: str, *moments: float) -> list[Sent]:
    return [Sent(post, number, at, "likes", 0, number) for number, at in enumerate(moments, 1)]


def test_each_like_is_matched_with_the_first_row_that_has_it() -> None:
    sent = likes("p", 1.0, 2.0, 3.0)
    seen = [Seen("p", 1, 1.5), Seen("p", 3, 3.5)]
    assert [(like.number, row.at) for like, row in first_rows(sent, seen)] == [(1, 1.5), (2, 3.5), (3, 3.5)]


def test_a_row_that_is_written_again_or_goes_back_changes_nothing() -> None:
    sent = likes("p", 1.0, 2.0)
    seen = [Seen("p", 2, 2.5), Seen("p", 1, 2.6), Seen("p", 2, 9.0)]
    assert [row.at for _, row in first_rows(sent, seen)] == [2.5, 2.5]


def test_posts_are_not_mixed_and_rows_of_other_posts_are_left() -> None:
    sent = [*likes("p", 1.0), *likes("q", 2.0)]
    seen = [Seen("other", 7, 0.5), Seen("q", 1, 2.25), Seen("p", 1, 4.0)]
    assert {like.post: row.at for like, row in first_rows(sent, seen)} == {"p": 4.0, "q": 2.25}


def test_the_row_of_a_new_post_has_no_like_in_it() -> None:
    assert [row.at for _, row in first_rows(likes("p", 1.0), [Seen("p", 0, 0.5), Seen("p", 1, 1.5)])] == [1.5]


def test_a_like_that_nobody_saw_is_no_latency_but_a_failure() -> None:
    with pytest.raises(Unmatched, match="1 of 2 likes were never seen"):
        first_rows(likes("p", 1.0, 2.0), [Seen("p", 1, 1.5)])


def test_a_row_with_more_likes_than_were_sent_is_a_failure() -> None:
    with pytest.raises(Unmatched, match="p has 2 likes, and only 1 were sent"):
        first_rows(likes("p", 1.0), [Seen("p", 2, 1.5)])


def test_likes_that_were_not_sent_in_order_are_a_failure() -> None:
    with pytest.raises(Unmatched, match="not sent as 1, 2, 3"):
        first_rows([Sent("p", 2, 1.0, "likes", 0, 0)], [Seen("p", 2, 1.5)])


def test_a_place_is_covered_by_the_first_mark_beyond_it() -> None:
    marks = [Mark(3.0, {"likes": {0: 11}}), Mark(1.0, {"likes": {0: 10, 1: 99}}), Mark(2.0, {})]
    assert first_marks([("a", "likes", 0, 10), ("b", "likes", 0, 9)], marks) == [("a", 3.0), ("b", 1.0)]


def test_marks_of_another_process_are_as_they_were(tmp_path: Path) -> None:
    marks = [Mark(1.0, {"likes": {0: 10}}), Mark(2.0, {"likes": {0: 11, 1: 9}})]
    with (tmp_path / "marks.jsonl").open("w") as log:
        append(log, marks)
    assert Reading(tmp_path / "marks.jsonl").marks() == marks


def test_a_place_that_nothing_covers_is_a_failure() -> None:
    with pytest.raises(Unmatched, match="likes, partition 0, offset 10"):
        first_marks([("a", "likes", 0, 10)], [Mark(1.0, {"likes": {0: 10}})])


def test_percentiles_are_those_of_the_numbers_in_milliseconds() -> None:
    seconds = [number / 1_000 for number in range(100, -1, -1)]  # 100 ms down to 0
    found = {one.name: one.value for one in percentiles("x", seconds, "how")}
    assert found == pytest.approx({"x.p50": 50, "x.p95": 95, "x.p99": 99, "x.max": 100})


def test_what_is_written_is_read_while_the_last_line_is_not_whole(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path, row = tmp_path / "seen.jsonl", Seen("p", 1, 1.5, 2, 3)
    with path.open("w") as log:
        append(log, [row])
        log.write('{"post": "p", "lik')
        log.flush()
        assert read_lines(path, Seen) == [row]


def test_the_rate_is_the_one_that_was_reached_not_the_one_asked_for() -> None:
    """A probe each hundredth of a second, one fact in ten. What came while warming up is left out."""
    sent = likes("p", -50.0, *(turn / 100 for turn in range(101)))
    assert Traffic(Pace(5_000, 50, 1), sent, measured_from=0.0).rate == pytest.approx(1_000)
