"""The least that any job here does: read the facts, parse their JSON, keep nothing.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf bench/floor_job.py [read | parse | state]

`read` leaves the parsing out; `state` has besides the least state that there is: a maximum for each pair.
"""

import sys
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.kafka import spark_options
from conf.settings import load_settings
from contract.facts import FACT_TOPICS
from contract.spark import FACT_FIELDS


def read(records: DataFrame) -> DataFrame:
    """Records as they came."""
    return records.select("topic", "partition", "offset", "timestamp", "value")


def parse(records: DataFrame) -> DataFrame:
    """Their fields."""
    fields = ", ".join(f"{name} string" for name in FACT_FIELDS)
    fact = F.from_json(F.col("value").cast("string"), fields)
    return records.select("topic", "partition", "offset", "timestamp", fact.alias("fact")).select("*", "fact.*")


def state(records: DataFrame) -> DataFrame:
    """Of each post and user the latest, in one store."""
    return parse(records).groupBy("topic", "post_id", "user_id").agg(F.max("occurred_at"))


STAGES: dict[str, Callable[[DataFrame], DataFrame]] = {stage.__name__: stage for stage in (read, parse, state)}


def main(stage: str) -> None:
    """Until it is stopped, under conf/spark.conf, with nothing that only jobs set: a changed job does not move it."""
    settings = load_settings().acting_as("posts_with_counts")
    name = f"floor_{stage}"
    spark = SparkSession.builder.appName(name).getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", settings.shuffle_partitions)
    records = (
        spark.readStream.format("kafka")
        .options(**spark_options(settings))
        .option("subscribe", ",".join(FACT_TOPICS))
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", settings.max_facts_a_batch)
        .load()
    )
    query = records.transform(STAGES[stage]).writeStream.outputMode("update").format("noop").queryName(name)
    query.option("checkpointLocation", str(settings.checkpoint_dir / name)).start()
    spark.streams.awaitAnyTermination()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else parse.__name__)
