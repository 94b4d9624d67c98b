"""A checkpoint with a file that was cut or is gone: the job says so, and what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.captured import convert_exception
from pyspark.sql import DataFrame, SparkSession

from jobs.harness import fix, with_causes
from tests.jobs.streams import CutStream

pytestmark = pytest.mark.spark


def kept(records: DataFrame) -> DataFrame:
    return records.groupBy("topic").count()


def newest(folder: Path, pattern: str = "[0-9]*") -> Path:
    return max(folder.glob(pattern), key=lambda path: int(path.name.partition("_")[0]))


def cut_the_commit(checkpoint: Path) -> None:
    os.truncate(newest(checkpoint / "commits"), 5)


def cut_the_changes_of_state(checkpoint: Path) -> None:
    path = newest(checkpoint / "state/0/0", "*.changelog")
    os.truncate(path, path.stat().st_size // 2)


def lose_the_changes_of_state(checkpoint: Path) -> None:
    newest(checkpoint / "state/0/0", "*.changelog").unlink()


@pytest.mark.parametrize("damage", [cut_the_commit, cut_the_changes_of_state, lose_the_changes_of_state])
def test_a_damaged_checkpoint_is_said_to_be_one(
    spark: SparkSession, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    stream = CutStream(spark, tmp_path)
    for post in ("a", "b"):
        stream.add([{"event_type": "post_liked", "post_id": post}])
        stream.run(kept, lambda batch, _: batch.collect())
    damage(tmp_path / "checkpoint")
    spark._jvm.org.apache.spark.sql.execution.streaming.state.StateStore.stop()  # as a new process: nothing is loaded
    stream.add([{"event_type": "post_liked", "post_id": "c"}])
    with pytest.raises(PySparkException) as failure:
        stream.run(kept, lambda batch, _: batch.collect())
    assert "the checkpoint is damaged" in fix(str(failure.value))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("[DELTA_CONCURRENT_APPEND] Files were added", "another process writes a table"),
        ("part-0.parquet: Too many open files", "nothing is lost"),
        ("s3a://lake/events/part-0.parquet: 503 SlowDown", "nothing is lost"),
        ("[CANNOT_LOAD_STATE_STORE] Connection refused", "nothing is lost"),
    ],
)
def test_what_passes_is_not_called_damage(error: str, said: str) -> None:
    assert said in fix(error)


def test_a_full_disk_under_the_checkpoint_is_told_though_another_error_wraps_it(spark: SparkSession) -> None:
    java = spark._jvm.java
    full = java.lang.RuntimeException("Task failed", java.io.IOException("No space left on device"))
    error = convert_exception(java.lang.RuntimeException("[CANNOT_WRITE_STATE_STORE.CANNOT_COMMIT]", full))
    assert "free some space" in fix(with_causes(error))
