"""States come into another number of partitions whole, and their queries go on as if nothing had been."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from conf.settings import Settings
from jobs.checkpoints import done_batch, refuse_other_shapes, shape_of
from jobs.running import only_one
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from jobs.transforms.panes import summed
from runtime.rescale import contents, rescale, rescale_query, store
from tests import reference
from tests.jobs.histories import records
from tests.jobs.streams import CutStream
from tests.jobs.test_rankings import first_hours
from tests.rebuild.earlier_checkpoint import FIXTURES, PARTITIONS, facts_after, facts_before

pytestmark = pytest.mark.spark
COUNTS = "posts_with_counts"
MORE = 3
BATCHES = [facts_before()[:60], facts_before()[60:], facts_after()]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What the counts job left behind."""
    with tarfile.open(FIXTURES / "counts-checkpoint-0.1.tar.gz") as tar:
        tar.extractall(tmp_path / "checkpoints", filter="data")
    return tmp_path / "checkpoints" / COUNTS


def rescaled_in_the_middle(spark: SparkSession, folder: Path, frames: Callable[[DataFrame], DataFrame]) -> list[Row]:
    """What a stream gives that was rescaled before its last batch."""
    given: list[Row] = []
    stream = CutStream(spark, folder)
    for batch in BATCHES[:2]:
        stream.add(batch)
    stream.run(frames, lambda batch, _: given.extend(batch.collect()))
    said = rescale_query(spark, folder / "checkpoint", MORE)
    assert "2 partitions are 3 now" in said
    assert "the same as before" in said
    stream.add(BATCHES[2])
    stream.run(frames, lambda batch, _: given.extend(batch.collect()))
    return given


@pytest.mark.usefixtures("commands")
def test_the_state_of_a_real_checkpoint_is_the_same_in_other_partitions(
    spark: SparkSession, checkpoint: Path, tmp_path: Path
) -> None:
    before, said = contents(spark, checkpoint), list[str]()
    rescale(Settings(data_dir=tmp_path), MORE, said.append)
    rows = sum(number for number, _ in before.values())
    assert said == [
        f"{COUNTS}: 2 partitions are 3 now; {rows} rows of state, the same as before",
        "trending_posts: has no state yet",
        "first_hour_engagement: has no state yet",
    ]
    assert contents(spark, checkpoint) == before
    assert rows > 100
    assert len(set(before.values())) == len(before)  # what differs looks different
    assert store(spark, checkpoint, 1).select("partition_id").distinct().count() == MORE
    refuse_other_shapes(checkpoint.parent, COUNTS, MORE)
    with pytest.raises(SystemExit, match="another shape"):
        refuse_other_shapes(checkpoint.parent, COUNTS, PARTITIONS)
    assert rescale_query(spark, checkpoint, MORE) == "has 3 partitions already"


def test_counts_go_on_exactly_after_they_were_rescaled(chained: Any, tmp_path: Path) -> None:
    def counted(frame: DataFrame) -> DataFrame:
        return frame.transform(facts).transform(valid).transform(count)

    last = {row.post_id: row for row in rescaled_in_the_middle(chained, tmp_path, counted)}
    expected = reference.posts_with_counts([fact for batch in BATCHES for fact in batch])
    assert {post: (row.likes, row.comments) for post, row in last.items() if row.alive} == {
        post: (one.likes, one.comments) for post, one in expected.items()
    }
    assert expected


def test_a_join_goes_on_exactly_after_it_was_rescaled(chained: Any, tmp_path: Path) -> None:
    given = rescaled_in_the_middle(chained, tmp_path, first_hours)
    at_once = records(chained, [fact for batch in BATCHES for fact in batch]).transform(first_hours)
    streamed = chained.createDataFrame(given, at_once.schema)
    keys = ("born", "post_id")
    assert sorted(summed(streamed, *keys).collect()) == sorted(summed(at_once, *keys).collect())
    assert summed(at_once, *keys).count() > 0


def test_a_checkpoint_that_was_left_within_a_batch_is_named_with_the_fix(spark: SparkSession, checkpoint: Path) -> None:
    (checkpoint / "commits" / str(done_batch(checkpoint))).unlink()
    with pytest.raises(SystemExit, match=rf"{checkpoint} was left within a batch: .* make up, make down"):
        rescale_query(spark, checkpoint, MORE)
    assert shape_of(checkpoint) is not None


def test_no_state_is_rescaled_where_a_later_one_was_left_within_a_batch(checkpoint: Path, tmp_path: Path) -> None:
    later = shutil.copytree(checkpoint, checkpoint.parent / "trending_posts")
    (later / "commits" / str(done_batch(later))).unlink()
    said: list[str] = []
    with pytest.raises(SystemExit, match="trending_posts was left within a batch"):
        rescale(Settings(data_dir=tmp_path), MORE, said.append)
    assert said == []


def test_a_rescaling_that_was_interrupted_is_named_and_gone_on_with(spark: SparkSession, checkpoint: Path) -> None:
    before = contents(spark, checkpoint)
    rescale_query(spark, checkpoint, MORE)
    (checkpoint / "commits" / str(done_batch(checkpoint))).unlink()
    with pytest.raises(SystemExit, match=rf"msm rescale {MORE} was interrupted within {checkpoint}: run it again"):
        refuse_other_shapes(checkpoint.parent, COUNTS, MORE)
    assert rescale_query(spark, checkpoint, MORE).startswith("what was begun is done")
    assert contents(spark, checkpoint) == before
    refuse_other_shapes(checkpoint.parent, COUNTS, MORE)


def test_a_query_without_state_is_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    assert rescale_query(spark, tmp_path / COUNTS, MORE) == "has no state yet"


def test_nothing_is_rescaled_under_a_running_job(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with (
        only_one(settings.run_dir, COUNTS),
        pytest.raises(SystemExit, match=f"{COUNTS} still runs on {tmp_path}: make down"),
    ):
        rescale(settings, MORE, print)
