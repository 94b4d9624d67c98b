"""The counts are what the rules say, in batch and in any stream, whatever arrives in which order."""

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs.transforms.counts import count, living_posts
from jobs.transforms.facts import facts as judged
from jobs.transforms.facts import valid
from tests import reference
from tests.jobs.histories import Fact, cuts, fact, flapping, hostile, records, several
from tests.jobs.streams import CutStream, state_after

pytestmark = pytest.mark.spark


def counted(frame: DataFrame) -> DataFrame:
    return frame.transform(judged).transform(valid).transform(count)


def counts_of(spark: SparkSession, history: list[Fact]) -> dict[str, reference.Post]:
    return {row.post_id: reference.Post.of(row) for row in counted(records(spark, history)).collect() if row.alive}


class Reader:
    """Reads what a stream emits; where no batch is done again, a version that does not grow is an error."""

    def __init__(self) -> None:
        self._records: list[tuple[bytes, bytes | None]] = []
        self._versions: dict[str, int] = {}

    def __call__(self, batch: DataFrame, _: int) -> None:
        for row in batch.collect():
            assert row.version > self._versions.get(row.post_id, 0)
            self._versions[row.post_id] = row.version
            post = json.dumps(row.asDict(recursive=True)).encode() if row.alive else None
            self._records.append((row.post_id.encode(), post))

    @property
    def posts(self) -> dict[str, reference.Post]:
        return reference.told(self._records)


def streamed(spark: SparkSession, folder: Path, batches: list[list[Fact]]) -> dict[str, reference.Post]:
    """Half of the batches, then a restart from the checkpoint, then the rest."""
    reader, stream = Reader(), CutStream(spark, folder)
    for part in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        for batch in part:
            stream.add(batch)
        if part:
            stream.run(counted, reader)
    return reader.posts


POST = fact("post_created", "e0", "12:00", "ada")


def test_a_user_who_unlikes_from_another_device_is_not_counted(spark: SparkSession) -> None:
    taken_back = [fact("post_unliked", "e2", "12:02", "bob"), fact("post_liked", "e1", "12:01", "bob")]
    assert counts_of(spark, [*taken_back, POST])["p1"].likes == 0


def test_at_the_same_moment_the_greater_event_id_rules(spark: SparkSession) -> None:
    same = [fact("post_unliked", "e1", "12:01", "bob"), fact("post_liked", "e2", "12:01", "bob")]
    assert counts_of(spark, [*same, POST])["p1"].likes == 1


def test_a_comment_deleted_before_it_was_added_stays_deleted(spark: SparkSession) -> None:
    deleted = fact("comment_deleted", "e1", "11:00", "bob", comment_id="c1")
    added = fact("comment_added", "e2", "12:01", "bob", comment_id="c1")
    assert counts_of(spark, [POST, deleted, added])["p1"].comments == 0


def test_a_stranger_deletes_neither_comment_nor_post(spark: SparkSession) -> None:
    added = fact("comment_added", "e1", "12:01", "bob", comment_id="c1")
    strangers = [
        fact("comment_deleted", "e2", "12:02", "cy", comment_id="c1"),
        fact("post_deleted", "e3", "12:03", "cy"),
    ]
    assert counts_of(spark, [POST, added, *strangers])["p1"].comments == 1


def test_a_post_belongs_to_its_earliest_creation_also_when_that_one_arrives_last(spark: SparkSession) -> None:
    hijack = fact("post_created", "e9", "12:30", "mallory")
    assert counts_of(spark, [hijack, POST])["p1"].user_id == "ada"
    assert counts_of(spark, [hijack, fact("post_deleted", "e8", "12:40", "ada"), POST]) == {}


def test_nothing_is_published_for_a_post_that_is_not_known(spark: SparkSession) -> None:
    unknown = records(spark, [fact("post_liked", "e1", "12:01", "bob", post="nowhere")])
    assert counted(unknown).collect() == []  # no tombstone either


def test_updated_at_is_the_latest_date_that_went_in(spark: SparkSession) -> None:
    went_in = [POST, fact("post_liked", "e1", "12:07", "bob"), fact("post_liked", "e2", "12:05", "cy")]
    stranger = fact("comment_deleted", "e3", "13:00", "cy", comment_id="c1")
    row = counted(records(spark, [*went_in, stranger])).first()
    assert row is not None
    assert row.updated_at == "2026-11-20T12:07:00.000Z"


def test_a_pair_that_flaps_two_hundred_times_in_reverse_has_one_like(chained: SparkSession, tmp_path: Path) -> None:
    flaps = [
        fact("post_liked" if number % 2 else "post_unliked", f"e{number:03}", f"12:{number // 4:02}", "bob")
        for number in range(200)
    ]
    backwards = flaps[::-1]
    batches = [[POST], backwards[:50], backwards[50:120], backwards[120:]]
    assert streamed(chained, tmp_path, batches)["p1"].likes == 1


def test_flapping_costs_no_state(chained: SparkSession, tmp_path: Path) -> None:
    few = state_after(chained, tmp_path / "few", counted, [[POST], *flapping(20, 3)])
    assert few == state_after(chained, tmp_path / "many", counted, [[POST], *flapping(200, 6)]) != []


def test_only_a_pair_with_several_records_has_a_row_beside_that_of_what_stands(
    chained: SparkSession, tmp_path: Path
) -> None:
    likes = [fact("post_liked", f"a{number}", "12:01", f"u{number}") for number in range(20)]
    both, again = [fact("post_liked", "f1", "12:01", "both"), fact("post_unliked", "f2", "12:02", "both")], likes[1]
    reader, stream = Reader(), CutStream(chained, tmp_path)
    stream.add([POST, *likes, *both])
    stream.add([fact("post_unliked", "g0", "12:02", "u0"), again])
    progress = stream.run(counted, reader).lastProgress
    assert progress is not None
    standing, in_all, one_post = sorted((rows.numRowsTotal for rows in progress.stateOperators), reverse=True)
    assert (standing, in_all, one_post) == (22, 1 + 3, 1)
    assert reader.posts["p1"].likes == 19


def test_what_the_only_record_of_a_pair_said_is_what_stood_before_its_second(
    chained: SparkSession, tmp_path: Path
) -> None:
    on, off = "post_liked", "post_unliked"
    batches: list[list[Fact]] = [[], [], []]
    for number, (first, *then) in enumerate(product([on, off], [on, off], [on, off, None])):
        post = f"p{number}"
        batches[0] += [{**POST, "event_id": post, "post_id": post}, fact(first, f"a{number}", "12:01", "bob", post)]
        later = [event_type for event_type in then if event_type]
        batches[1] += [fact(one, f"b{number}{at}", f"12:1{at}", "bob", post) for at, one in enumerate(later)]
        batches[2] += [fact(on, f"c{number}", "12:59", "bob", post)]
    for upto in range(1, len(batches) + 1):
        seen = [one for batch in batches[:upto] for one in batch]
        assert streamed(chained, tmp_path / str(upto), batches[:upto]) == reference.posts_with_counts(seen)


@hostile(4)
@given(history=several(min_size=15, max_size=80, at_most=14))
def test_any_history_counts_as_the_rules_say(spark: SparkSession, history: list[Fact]) -> None:
    assert counts_of(spark, history) == reference.posts_with_counts(history)


@hostile(3)
@given(history=several(min_size=15, max_size=60, at_most=10))
def test_posts_live_for_a_ranking_as_they_do_for_the_counts(spark: SparkSession, history: list[Fact]) -> None:
    posts = records(spark, history).where("topic = 'posts'").transform(judged).transform(valid)
    living = {row.post_id: (row.user_id, row.caption, row.created_at) for row in living_posts(posts).collect()}
    expected = reference.posts_with_counts(history)
    assert living == {post_id: (post.user_id, post.caption, post.created_at) for post_id, post in expected.items()}


@hostile(4)
@given(data=st.data())
def test_any_stream_cut_and_restarted_anywhere_counts_the_same(
    chained: SparkSession, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    history = data.draw(several(min_size=15, max_size=60, at_most=6))
    batches = data.draw(cuts(history, most=7))
    assert streamed(chained, tmp_path_factory.mktemp("stream"), batches) == reference.posts_with_counts(history)
