"""The watcher on a made-up checkpoint: when it strikes, and when it must not claim that it did."""

from pathlib import Path

import pytest

from chaos.points import POINTS, Point, Struck, Watch

QUERY = "counts"
PLAIN = Point("job", QUERY)
AFTER_TABLE = Point("job", QUERY, grew="lake/_delta_log/*.json")
IN_MERGE = Point("job", QUERY, grew="lake/*.parquet", still="lake/_delta_log/*.json")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("offsets", "commits"):
        (tmp_path / "checkpoints" / QUERY / folder).mkdir(parents=True)
    (tmp_path / "lake/_delta_log").mkdir(parents=True)
    plan(tmp_path, 0)
    commit(tmp_path, 0)
    return tmp_path


def plan(data: Path, batch: int) -> None:
    (data / "checkpoints" / QUERY / "offsets" / str(batch)).touch()


def commit(data: Path, batch: int) -> None:
    (data / "checkpoints" / QUERY / "commits" / str(batch)).touch()


def write(data: Path, name: str) -> None:
    with (data / "lake" / name).open("a") as file:
        file.write("row")


def test_nothing_is_reached_between_two_batches(data: Path) -> None:
    assert Watch(data, PLAIN).reached() is None


def test_a_batch_that_is_planned_and_not_done_is_being_read(data: Path) -> None:
    watch = Watch(data, PLAIN)
    plan(data, 1)
    assert watch.reached() == 1
    commit(data, 1)
    assert watch.reached() is None


def test_batches_are_told_by_number_and_not_by_text(data: Path) -> None:
    for batch in range(1, 11):
        plan(data, batch)
        commit(data, batch)
    watch = Watch(data, PLAIN)
    plan(data, 11)
    assert watch.reached() == 11


def test_a_batch_that_ran_before_one_looked_may_be_past_the_point(data: Path) -> None:
    plan(data, 1)
    assert Watch(data, PLAIN).reached() is None


def test_the_table_must_have_grown_since_the_batch_was_planned(data: Path) -> None:
    write(data, "_delta_log/0.json")
    watch = Watch(data, AFTER_TABLE)
    plan(data, 1)
    assert watch.reached() is None
    write(data, "_delta_log/1.json")
    assert watch.reached() == 1


def test_what_an_earlier_batch_wrote_is_not_of_this_one(data: Path) -> None:
    watch = Watch(data, AFTER_TABLE)
    plan(data, 1)
    assert watch.reached() is None
    write(data, "_delta_log/1.json")
    commit(data, 1)
    plan(data, 2)
    assert watch.reached() is None


def test_a_file_that_gets_longer_has_grown(data: Path) -> None:
    write(data, "_delta_log/0.json")
    watch = Watch(data, AFTER_TABLE)
    plan(data, 1)
    assert watch.reached() is None
    write(data, "_delta_log/0.json")
    assert watch.reached() == 1


def test_a_merge_that_is_in_the_log_is_over(data: Path) -> None:
    watch = Watch(data, IN_MERGE)
    plan(data, 1)
    assert watch.reached() is None
    write(data, "a.parquet")
    assert watch.reached() == 1
    write(data, "_delta_log/1.json")
    assert watch.reached() is None


def test_a_strike_names_the_batch_that_it_left_undone(data: Path) -> None:
    watch, struck = Watch(data, PLAIN), list[str]()
    plan(data, 1)
    assert watch.strike(lambda: struck.append("dead"), seconds=5) == Struck(1, undone=True)
    assert struck == ["dead"]


def test_a_strike_that_came_too_late_does_not_claim_to_have_hit(data: Path) -> None:
    watch = Watch(data, PLAIN)
    plan(data, 1)
    assert watch.strike(lambda: commit(data, 1), seconds=5) == Struck(1, undone=False)


def test_a_point_that_never_comes_is_given_up(data: Path) -> None:
    struck: list[str] = []
    assert Watch(data, PLAIN).strike(lambda: struck.append("dead"), seconds=0.05) is None
    assert struck == []


def test_every_point_names_a_query_and_a_part_that_there_are() -> None:
    from jobs.checkpoints import STATES

    assert {(point.part, point.query) for point in POINTS.values()} <= {(j, q) for j in STATES for q in STATES[j]}
