"""The view of posts, whatever is written twice, and wherever it is stopped."""

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds import view
from feeds.records import PostSeen, Record
from feeds.store import PAGE_MAX_BYTES, RESUME_MAX, RESUME_MAX_BYTES, PostStore
from feeds.view import TOMBSTONES_KEPT_SECONDS, InUseError, NoStoreError
from tests.feeds.samples import changes, row, tombstone

OFFSETS = {("posts_with_counts", 0): 7}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posts.sqlite"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[PostStore]:
    store = PostStore(path, clock)
    yield store
    store.close()


def take(store: PostStore, *records: Record) -> list[tuple[str, bool]]:
    """The posts that a batch changed, and whether they live."""
    updates, _ = store.apply(changes(*records), OFFSETS)
    return [(update.post_id, update.body is not None) for update in updates]


def versions(store: PostStore) -> dict[str, int]:
    with store.reading() as db:
        return dict(db.execute("select post_id, version from posts where removed_at is null").fetchall())


def test_a_version_that_is_not_above_the_known_one_is_ignored(store: PostStore) -> None:
    take(store, row(version=3))
    assert take(store, row(version=3), row(version=2)) == []
    assert versions(store) == {"p1": 3}


def test_a_batch_makes_one_change_of_a_post(store: PostStore) -> None:
    assert take(store, row(version=1), row(version=2), row("p2")) == [("p1", True), ("p2", True)]
    assert store.stream_id().endswith("-2")


def test_a_tombstone_removes_a_post(store: PostStore) -> None:
    take(store, row(version=3))
    assert take(store, tombstone()) == [("p1", False)]
    assert store.page(10, None).bodies == []
    assert store.body("p1") is None


def test_an_older_row_does_not_bring_a_removed_post_back(store: PostStore) -> None:
    take(store, row(version=3, seen={"posts": (0, 1)}))
    take(store, tombstone(seen={"posts": (0, 2)}))
    assert take(store, row(version=3, seen={"posts": (0, 1)})) == []
    assert take(store, row(version=4, seen={"posts": (0, 1)})) == []


def test_an_earlier_creation_by_someone_else_brings_a_post_back(store: PostStore) -> None:
    take(store, row(version=1, seen={"posts": (0, 1)}), tombstone(seen={"posts": (0, 2)}))
    assert take(store, row(version=3, seen={"posts": (1, 0)})) == [("p1", True)]


def test_a_tombstone_written_again_does_not_remove_what_came_after_it(store: PostStore) -> None:
    first, gone, back = (
        row(version=1, seen={"posts": (0, 1)}),
        tombstone(seen={"posts": (0, 2)}),
        row(version=3, seen={"posts": (1, 0)}),
    )
    take(store, first, gone, back)
    assert take(store, gone, back) == []
    assert versions(store) == {"p1": 3}


def test_what_went_into_a_removed_post_is_remembered(store: PostStore) -> None:
    take(store, row(seen={"posts": (0, 1)}), tombstone(seen={"posts": (0, 2)}))
    assert store.seen("p1") == {"posts": (0, 2)}
    assert store.seen("unknown") == {}


def test_pages_go_from_the_newest_post_to_the_oldest(store: PostStore) -> None:
    times = {"b": "14:00:00", "a": "14:00:00", "d": "14:00:02", "c": "14:00:01"}
    take(store, *(row(post, created_at=f"2026-11-20T{time}.000Z") for post, time in times.items()))
    first = store.page(3, None)
    second = store.page(3, first.last)
    assert [b.split('"')[3] for b in first.bodies + second.bodies] == ["d", "c", "b", "a"]
    assert second.last is None


def test_a_page_of_large_posts_ends_earlier_and_the_next_one_goes_on(store: PostStore) -> None:
    take(store, *(row(f"p{number:02}", caption="\1" * 2_200) for number in range(80)))
    bodies, last, sizes = list[str](), None, list[int]()
    while last or not bodies:
        page = store.page(100, last)
        bodies, last = bodies + page.bodies, page.last
        sizes.append(sum(map(len, page.bodies)))
    assert [body.split('"')[3] for body in bodies] == [f"p{number:02}" for number in reversed(range(80))]
    assert len(sizes) == 3
    assert max(sizes) <= PAGE_MAX_BYTES


def test_a_post_that_is_larger_than_a_page_is_one(store: PostStore) -> None:
    take(store, row("p1", note="x", caption="y" * PAGE_MAX_BYTES), row("p2"))
    assert [len(store.page(1, None).bodies), len(store.page(2, None).bodies)] == [1, 1]


def test_whoever_missed_changes_gets_the_newest_state_of_each_post(store: PostStore) -> None:
    take(store, row("p1"), row("p2"))
    since = store.stream_id()
    take(store, row("p1", 2))
    take(store, row("p1", 3), tombstone("p2"))
    updates, current = store.missed(since)
    assert updates is not None
    assert [(u.post_id, u.body is None) for u in updates] == [("p1", False), ("p2", True)]
    assert current == store.stream_id()


@pytest.mark.parametrize("epoch", ["000012345678", "123456789012", "12e456789012"])
def test_an_epoch_that_looks_like_a_number_is_none(epoch: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: epoch)
    store = PostStore(path)
    since = store.stream_id()
    take(store, row("p1"))
    assert (store.epoch, since, store.stream_id()) == (epoch, f"{epoch}-0", f"{epoch}-1")
    updates, _ = store.missed(since)
    assert updates is not None
    assert [update.post_id for update in updates] == ["p1"]
    store.close()


@pytest.mark.parametrize("stream_id", ["other-1", "", "-", "x-y", "{epoch}-99", "{epoch}--1", "{epoch}-" + "9" * 40])
def test_an_id_of_another_view_means_to_reload(store: PostStore, stream_id: str) -> None:
    assert store.missed(stream_id.format(epoch=store.epoch))[0] is None


def test_whoever_missed_too_much_reloads(store: PostStore) -> None:
    since = store.stream_id()
    take(store, *(row(f"p{number}") for number in range(RESUME_MAX + 1)))
    assert store.missed(since)[0] is None


def test_whoever_missed_large_changes_reloads_before_all_are_read(
    store: PostStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = store.stream_id()
    take(store, *(row(f"p{number}", caption="é" * 2_200) for number in range(100)))
    made: list[str] = []
    monkeypatch.setattr("feeds.store.Update", lambda post, *_: made.append(post))
    assert store.missed(since)[0] is None
    assert len(made) * 4_400 < RESUME_MAX_BYTES < 100 * 4_400


def test_a_removed_post_does_not_come_back_where_a_month_later_all_is_told_again(
    store: PostStore, clock: Clock
) -> None:
    take(store, row("p1", version=3), tombstone("p1"), row("p2"))
    clock.now += 4 * TOMBSTONES_KEPT_SECONDS
    store.touch()
    take(store, row("p1", version=1), row("p1", version=2))
    assert versions(store) == {"p2": 1}
    assert store.body("p1") is None


def test_a_batch_that_fails_leaves_neither_rows_nor_offsets(store: PostStore) -> None:
    def fail_halfway() -> None:
        with store.writing(OFFSETS) as db:
            db.execute("delete from meta")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert store.offsets() == {}
    assert store.epoch


def test_a_restart_goes_on_where_it_was(path: Path, store: PostStore, clock: Clock) -> None:
    take(store, row(version=3))
    before = store.stream_id()
    store.close()
    again = PostStore(path, clock)
    assert (again.stream_id(), again.offsets(), versions(again)) == (before, OFFSETS, {"p1": 3})
    again.close()


def test_after_a_start_of_the_machine_ids_are_of_another_epoch(
    path: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(view, "BOOT_ID", boot)
    epochs = []
    for started in ("one", "one", "another", "another"):
        boot.write_text(started)
        store = PostStore(path, clock)
        take(store, row(version=len(epochs) + 1))
        assert (store.offsets(), versions(store)) == (OFFSETS, {"p1": len(epochs) + 1})
        epochs.append(store.epoch)
        store.close()
    assert epochs[0] == epochs[1] != epochs[2] == epochs[3]


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5_000:9_000] = b"x" * 4_000
    path.write_bytes(content)


def replace(path: Path) -> None:
    path.write_text("no database at all, but a text that is longer than a page header " * 10)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [lose, cut, corrupt, replace, empty])
def test_a_damaged_store_is_built_anew(path: Path, store: PostStore, clock: Clock, damage: object) -> None:
    assert callable(damage)
    take(store, *(row(f"p{number}") for number in range(200)))
    epoch = store.epoch
    store.close()
    damage(path)
    again = PostStore(path, clock)
    assert (again.offsets(), versions(again)) == ({}, {})
    assert again.epoch != epoch
    again.close()


def test_a_store_that_was_away_longer_than_tombstones_are_kept_is_built_anew(
    path: Path, store: PostStore, clock: Clock
) -> None:
    take(store, row())
    store.close()
    clock.now += TOMBSTONES_KEPT_SECONDS + 1
    again = PostStore(path, clock)
    assert versions(again) == {}
    again.close()


def test_a_store_of_another_schema_is_built_anew(path: Path, store: PostStore, clock: Clock) -> None:
    class OtherStore(PostStore):
        schema = PostStore.schema + "create table more (x);"

    take(store, row())
    store.close()
    again = OtherStore(path, clock)
    assert again.offsets() == {}
    again.close()


def test_readers_follow_a_rebuild(store: PostStore) -> None:
    take(store, row())
    assert store.body("p1")
    store.rebuild("the test says so")
    assert store.body("p1") is None
    take(store, row("p2"))
    assert store.body("p2")


def test_a_view_is_whole_once_it_was_in_step_until_it_is_built_anew(path: Path, store: PostStore, clock: Clock) -> None:
    take(store, row())
    store.close()
    in_part = PostStore(path, clock)
    assert not in_part.is_whole
    in_part.touch()
    assert in_part.is_whole
    in_part.close()
    again = PostStore(path, clock)
    assert again.is_whole
    again.rebuild("the test says so")
    assert not again.is_whole
    again.close()


def test_a_rebuild_gives_the_room_of_the_old_file_back(path: Path, store: PostStore) -> None:
    def open_files() -> list[str]:
        found = [os.readlink(file.path) for file in os.scandir("/proc/self/fd") if os.path.lexists(file.path)]
        return [name for name in found if name.startswith(str(path))]

    assert store.body("p1") is None
    assert open_files()
    store.rebuild("the test says so")
    assert store.body("p1") is None
    assert not [name for name in open_files() if name.endswith("(deleted)")]


def test_two_processes_cannot_keep_one_store(path: Path, store: PostStore) -> None:
    with pytest.raises(InUseError, match="in use by another process"):
        PostStore(path)


def test_a_folder_where_the_store_should_be_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(NoStoreError, match=r"posts\.sqlite cannot be used .* made again from Kafka"):
        PostStore(path)


def test_a_file_where_the_stores_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "feeds").write_text("")
    with pytest.raises(NoStoreError, match="cannot be used"):
        PostStore(tmp_path / "feeds" / "posts.sqlite")


def test_a_store_that_another_program_has_locked_is_waited_for_and_not_thrown_away(
    path: Path, store: PostStore
) -> None:
    take(store, row(version=1))
    epoch = store.epoch
    store._writer.execute("pragma busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        take(store, row(version=2))
    assert versions(store) == {"p1": 1}  # one reads on
    store.check()
    other.execute("rollback")
    other.close()
    assert take(store, row(version=2)) == [("p1", True)]
    assert store.epoch == epoch


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """What a job writes of a few posts: versions and what was seen only grow; some are removed, some come back."""
    written: list[Record] = []
    heads: dict[str, tuple[int, PostSeen]] = {}
    for post_id, removed in draw(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12)):
        version, seen = heads.get(post_id, (0, {}))
        version, seen = version + 1, {**seen, "posts": (0, version + 1)}
        heads[post_id] = (version, seen)
        written.append(tombstone(post_id, seen) if removed else row(post_id, version, seen))
    return written


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """A history, and the same as a topic holds it after faults: parts of it written again from some point on."""
    history = draw(histories())
    topic: list[Record] = []
    written_so_far = 0
    for end in [*sorted(draw(st.lists(st.integers(0, len(history)), max_size=3))), len(history)]:
        begin = draw(st.integers(0, end))
        topic += history[min(begin, written_so_far) : end]
        written_so_far = max(written_so_far, end)
    return history, topic


def view_of(batches: Sequence[Sequence[Record]], restart_each: bool) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        store = PostStore(Path(folder) / "posts.sqlite")
        for batch in batches:
            store.apply(changes(*batch), OFFSETS)
            if restart_each:
                store.close()
                store = PostStore(Path(folder) / "posts.sqlite")
        view = versions(store)
        store.close()
    return view


def final(history: Sequence[Record]) -> dict[str, int]:
    """The living posts, by the last record of each."""
    last = {one.key: change for one, change in zip(history, changes(*history), strict=True)}
    return {change.post_id: change.post.version for change in last.values() if change.post is not None}


@settings(max_examples=60, deadline=None)
@given(rewritten(), st.lists(st.integers(0, 30), max_size=4), st.booleans())
def test_any_rewriting_any_batches_and_any_restart_give_the_same_view(
    written: tuple[list[Record], list[Record]], cuts: list[int], restart_each: bool
) -> None:
    history, topic = written
    bounds = [0, *sorted(min(cut, len(topic)) for cut in cuts), len(topic)]
    batches = [topic[begin:end] for begin, end in pairwise(bounds)]
    assert view_of(batches, restart_each) == final(history)
