"""Dead letters to Kafka, at least once; a reader knows one by topic, partition and offset.

A batch that is run again after a kill leaves out what the topic has. A task that Spark runs again does not: the same
letter is there twice then, byte for byte.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.kafka import spark_options
from conf.settings import Settings
from contract.topics import DEAD_LETTERS
from jobs.progress import DEAD_LETTERS as METRIC
from jobs.sinks.kafka import producer_options
from jobs.transforms.dead_letters import dead_letter_records

_SOURCE = ["topic", "partition", "offset"]


class DeadLetterSink:
    """Only the first batch after a start can have been written before: it leaves out what the topic has."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._may_be_a_repetition = True

    def send(self, letters: DataFrame) -> None:
        """Write the letters and count them by reason."""
        reasons = {row.reason: row["count"] for row in letters.groupBy("reason").count().collect()}
        if reasons:
            records = (self._unsent(letters) if self._may_be_a_repetition else letters).transform(dead_letter_records)
            options = producer_options(self._settings)
            records.write.format("kafka").options(**options).option("topic", DEAD_LETTERS).save()
        self._may_be_a_repetition = False
        for reason, number in reasons.items():
            METRIC.labels("events", reason).inc(number)

    def _unsent(self, letters: DataFrame) -> DataFrame:
        first = letters.agg(F.min("arrived_at").cast("double")).first()
        written = (
            letters.sparkSession.read.format("kafka")
            .options(**spark_options(self._settings))
            .option("subscribe", DEAD_LETTERS)
            .option("startingTimestamp", int(first[0] * 1000) if first else 0)
            .option("startingOffsetsByTimestampStrategy", "latest")
            .load()
            .select(F.from_json(F.col("value").cast("string"), "topic string, partition int, offset long").alias("at"))
            .select("at.*")
        )
        return letters.join(written, _SOURCE, "left_anti")
