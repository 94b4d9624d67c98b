"""Gives the states of the jobs another number of partitions, with Spark's own tool, while no job runs."""

from collections.abc import Callable
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from conf.store import refuse_store
from jobs.checkpoints import STATES, begun_batch, done_batch, left_by_rescale, shape_of
from jobs.harness import reason
from runtime.children import alone, held
from runtime.parts import JOBS
from runtime.spark import batch_session

Contents = dict[str, tuple[int, int]]
HALF_WAY = "{} was left within a batch: let its job finish it with make up, make down; then again"


def rescale(settings: Settings, partitions: int, say: Callable[[str], None]) -> None:
    """All states in that many partitions, each the same as before; SystemExit with one sentence where that cannot be.

    Interrupted, it is run again with the same number.
    """
    refuse_store(settings, "msm rescale", "start over with new checkpoints (docs/operations.md)")
    with alone(settings, "states"), held(settings, JOBS):
        queries = [query for states in STATES.values() for query, state in states.items() if state != "none"]
        for query in queries:  # all of them, before one is changed: they go on with the same number
            _refuse_half_way(settings.checkpoint_dir / query)
        with batch_session(settings) as spark:
            for query in queries:
                say(f"{query}: {rescale_query(spark, settings.checkpoint_dir / query, partitions)}")


def _refuse_half_way(checkpoint: Path) -> None:
    if shape_of(checkpoint) and begun_batch(checkpoint) != done_batch(checkpoint) and not left_by_rescale(checkpoint):
        raise SystemExit(HALF_WAY.format(checkpoint))


def rescale_query(spark: SparkSession, checkpoint: Path, partitions: int) -> str:
    """What became of one checkpoint."""
    shape = shape_of(checkpoint)
    if shape is None:
        return "has no state yet"
    is_begun = left_by_rescale(checkpoint) == partitions
    if shape.partitions == partitions and not is_begun:
        return f"has {partitions} partitions already"
    before = contents(spark, checkpoint)
    _repartition(spark, checkpoint, partitions)
    if contents(spark, checkpoint) != before:
        raise SystemExit(f"{checkpoint} is not what it was: put back a copy, or start over (docs/operations.md)")
    rows = sum(number for number, _ in before.values())
    how = "what was begun is done" if is_begun else f"{shape.partitions} partitions are {partitions} now"
    return f"{how}; {rows:,} rows of state, the same as before"


def _repartition(spark: SparkSession, checkpoint: Path, partitions: int) -> None:
    try:
        spark._streamingCheckpointManager.repartition(str(checkpoint), partitions)
    except (PySparkException, Py4JJavaError) as error:
        if "LAST_BATCH_FAILED" in str(error):
            raise SystemExit(HALF_WAY.format(checkpoint)) from None
        raise SystemExit(f"{checkpoint} cannot be rescaled: {reason(error)}") from None


def contents(spark: SparkSession, checkpoint: Path) -> Contents:
    """Of each store its rows and the sum of their hashes, which is the same in any order and any partitions."""
    # Readers of state want the coordinator of the stores, and only a session that looked at its streams has one.
    _ = spark.streams.active
    operators = spark.read.format("state-metadata").load(str(checkpoint)).select("operatorId", "operatorName")
    return {
        f"{operator.operatorId}-{side}": _summed(store(spark, checkpoint, operator.operatorId, side))
        for operator in operators.distinct().collect()
        for side in (("left", "right") if operator.operatorName == "symmetricHashJoin" else ("none",))
    }


def store(spark: SparkSession, checkpoint: Path, operator: int, side: str = "none") -> DataFrame:
    """What an aggregate, or a `side` of a join, has in state."""
    options = {"operatorId": str(operator), "joinSide": side}
    return spark.read.format("statestore").options(**options).load(str(checkpoint))


def _summed(state: DataFrame) -> tuple[int, int]:
    row = state.selectExpr("count(*)", "coalesce(sum(cast(xxhash64(key, value) as decimal(38))), 0)").collect()[0]
    return int(row[0]), int(row[1])
