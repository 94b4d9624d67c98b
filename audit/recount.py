"""Both recounts of the archived records, as of what is published.

Each parses every record for itself, once, and keeps what it makes of them in files: the second half of a recount, the
rankings and the dead letters read these. The two share the raw records and nothing after.
"""

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from audit.part import WHOLE, Part
from contract.results import PostWithCounts
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid

SAID = [name for name in PostWithCounts.model_fields if name != "post_id"]
"""The fields that must be the same everywhere."""
JUDGE, STATEMENT = (Path(__file__).with_name(name) for name in ("judge.sql", "recount.sql"))
NOT_COUNTED = ("key", "value", "text", "reason", "detail", "arrived_at")
"""Columns that no later step reads."""


def judge_by_statement(records: DataFrame, folder: Path, part: Part = WHOLE) -> None:
    """Make the view `judged`: each record with its fields, and the reason why it is no fact; `in_part` has those of it.

    What is no fact is in any part.
    """
    spark = records.sparkSession
    records.createOrReplaceTempView("records")
    run(spark, JUDGE)
    kept(spark.table("verdicts"), folder / "judged").createOrReplaceTempView("judged")
    is_in = F.col("reason").isNotNull() | part.has(F.col("post_id"))
    spark.table("judged").where(is_in).createOrReplaceTempView("in_part")


def judged_records(spark: SparkSession) -> int:
    """How many records the part has that was judged last."""
    return spark.table("in_part").count()


def judge_by_transforms(records: DataFrame, folder: Path) -> DataFrame:
    """The facts among the records, as the jobs' own transformations have them."""
    judged = records.withColumnRenamed("arrived_at", "timestamp").transform(facts).transform(valid)
    return kept(judged.drop(*NOT_COUNTED), folder / "facts")


def kept(frame: DataFrame, path: Path) -> DataFrame:
    """The frame, from files; also a barrier: the optimiser of a batch would cast dates before it judges them."""
    frame.write.parquet(str(path))
    return frame.sparkSession.read.schema(frame.schema).parquet(str(path))


def by_statement(targets: DataFrame, cut: DataFrame) -> DataFrame:
    """The independent recount, one row a post.

    (post_id, alive, said, seen, counted, superseded, waiting, missed, unsettled), as recount.sql makes them.
    """
    spark = targets.sparkSession
    cut.createOrReplaceTempView("cut")
    targets.createOrReplaceTempView("targets")
    run(spark, STATEMENT)
    return spark.table("recounted")


def run(spark: SparkSession, file: Path) -> None:
    """Make the views and functions of a SQL file."""
    for statement in statements(file):
        spark.sql(statement)


def statements(file: Path) -> list[str]:
    """The parts of a SQL file, in order."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("--")]
    return [part for part in (text.strip() for text in "\n".join(lines).split(";")) if part]


def by_transforms(known: DataFrame, targets: DataFrame, cut: DataFrame) -> DataFrame:
    """The recount of the jobs' own transformations: one row a known post (post_id, alive, said, seen)."""
    return (
        known.transform(as_of, targets, cut)
        .transform(count)
        .select("post_id", "alive", F.struct(*SAID).alias("said"), "seen")
    )


def as_of(judged: DataFrame, targets: DataFrame, cut: DataFrame) -> DataFrame:
    """The facts that went into their post's published row; of a post without one, those below the cut."""
    near = judged.join(F.broadcast(cut), ["topic", "partition"], "left").join(targets, "post_id", "left")
    place, is_old = F.col("seen")[F.col("topic")], F.coalesce(F.col("offset") < F.col("next"), F.lit(False))
    partition, offset = F.get(place, F.lit(0)), F.get(place, F.lit(1))
    went_in = (
        F.when(F.col("seen").isNull(), is_old)
        .when(F.col("partition") == partition, F.col("offset") <= offset)
        .when(F.col("partition") < partition, is_old)
        .otherwise(False)
    )
    return near.where(went_in).select(*judged.columns)
