"""Both recounts of the archived records, as of what is published."""

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contract.results import PostWithCounts
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid

SAID = [name for name in PostWithCounts.model_fields if name != "post_id"]
"""The fields that must be the same everywhere."""
STATEMENT = Path(__file__).with_name("recount.sql")


def by_statement(records: DataFrame, targets: DataFrame, cut: DataFrame) -> DataFrame:
    """The independent recount: one row a post (post_id, alive, said, seen, counted, superseded, waiting, missed)."""
    prepare(records, cut, targets)
    return records.sparkSession.table("recounted")


def prepare(records: DataFrame, cut: DataFrame, targets: DataFrame) -> None:
    """Make the views of the statement; `judged` has the reason of each record that is no fact."""
    spark = records.sparkSession
    records.createOrReplaceTempView("records")
    cut.createOrReplaceTempView("cut")
    targets.createOrReplaceTempView("targets")
    for statement in statements():
        spark.sql(statement)


def statements(file: Path = STATEMENT) -> list[str]:
    """The parts of a SQL file, in order."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("--")]
    return [part for part in (text.strip() for text in "\n".join(lines).split(";")) if part]


def by_transforms(records: DataFrame, targets: DataFrame, cut: DataFrame) -> DataFrame:
    """The recount of the jobs' own transformations: one row a known post (post_id, alive, said, seen)."""
    judged = records.withColumnRenamed("arrived_at", "timestamp").transform(facts).transform(valid)
    return (
        judged.transform(as_of, targets, cut)
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
