"""The least that any job here does: read the facts, parse their JSON, keep nothing.

    PYSPARK_PYTHON=.venv/bin/python .venv/bin/spark-submit --master "${MSM_SPARK_MASTER:-local[*]}" \
        --properties-file conf/spark.conf bench/floor_job.py
"""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.kafka import spark_options
from conf.settings import load_settings
from contract.facts import FACT_TOPICS
from contract.spark import FACT_FIELDS

NAME = "floor"


def main() -> None:
    """Until it is stopped. Session and source are Spark's own, so that a changed job does not move the floor."""
    settings = load_settings().acting_as("posts_with_counts")
    spark = SparkSession.builder.appName(NAME).getOrCreate()
    records = (
        spark.readStream.format("kafka")
        .options(**spark_options(settings))
        .option("subscribe", ",".join(FACT_TOPICS))
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", settings.max_facts_a_batch)
        .load()
    )
    fields = ", ".join(f"{name} string" for name in FACT_FIELDS)
    fact = F.from_json(F.col("value").cast("string"), fields)
    checkpoint = str(settings.checkpoint_dir / NAME)
    parsed = records.select("topic", "partition", "offset", "timestamp", fact.alias("fact")).select("*", "fact.*")
    parsed.writeStream.format("noop").queryName(NAME).option("checkpointLocation", checkpoint).start()
    spark.streams.awaitAnyTermination()


if __name__ == "__main__":
    main()
