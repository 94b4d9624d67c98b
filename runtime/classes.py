"""Does what a counts job does, over one record, so that its JVM can leave an archive of the classes that Spark loads.

`make setup` runs it. A JVM that maps the archive starts sooner: it reads and checks no classes of hundreds of jars.
Where there is none, or one of another Java or other jars, it starts as ever. Source: JEP 350, dynamic archives.
"""

from tempfile import TemporaryDirectory

from conf.settings import Settings
from jobs.harness import spark_session
from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid

RECORD = (
    "'likes' AS topic",
    "0 AS partition",
    "value AS offset",
    "timestamp",
    "CAST(NULL AS binary) AS key",
    "CAST('{}' AS binary) AS value",
)


def main() -> None:
    spark = spark_session("classes", Settings.model_construct(shuffle_partitions=1, counts_trigger="micro-batch"))
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", "false")
    ticks = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 1).load()
    counted = ticks.selectExpr(*RECORD).transform(facts).transform(valid).transform(count)
    with TemporaryDirectory() as folder:
        written = counted.writeStream.format("noop").outputMode("update").option("checkpointLocation", folder)
        written.trigger(availableNow=True).start().awaitTermination()
    spark.stop()


if __name__ == "__main__":
    main()
