"""A tick of the trending job: keep what came, rank, publish, remember the end of each minute."""

import json
from collections.abc import Iterable
from datetime import datetime

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from conf.settings import Settings
from contract import tables
from contract.facts import format_time, parse_time
from contract.results import RISING_KEY, SEEN_HEADER, TRENDING_KEY, RankedPost, Ranking
from contract.spark import RANKING_ROW
from contract.topics import RISING_POSTS, TRENDING_POSTS
from jobs.sinks.kafka import producer_options
from jobs.sinks.lake import append_once, ensure_table, table_path
from jobs.transforms.ranking import MINUTE, PastHour, ranked, rising, trending

_RECORDS = (
    StructType()
    .add("topic", "string")
    .add("key", "string")
    .add("value", "string")
    .add("seen", "string")
)


class Rankings:
    """Ranks from the tables that the job's queries keep; owns nothing but the history table."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings = settings
        self._history = ensure_table(spark, table_path(settings, tables.TRENDING_POSTS), RANKING_ROW)
        newest = spark.read.format("delta").load(self._history).agg(F.max("window_end").cast("double")).first()
        self._remembered = newest[0] if newest else None

    def publish(self, spark: SparkSession, moment: datetime, seen: str) -> None:
        """Both rankings as of `moment`, to Kafka."""
        hour = PastHour.at(moment)
        rows = [
            Row(TRENDING_POSTS, TRENDING_KEY, self._trending(spark, hour, moment).model_dump_json(), seen),
            Row(RISING_POSTS, RISING_KEY, self._rising(spark, hour, moment).model_dump_json(), seen),
        ]
        header = F.array(F.struct(F.lit(SEEN_HEADER).alias("key"), F.col("seen").cast("binary").alias("value")))
        records = spark.createDataFrame(rows, _RECORDS).coalesce(1).withColumn("headers", header).drop("seen")
        records.write.format("kafka").options(**producer_options(self._settings)).save()

    def remember(self, spark: SparkSession, moment: datetime, writer: str) -> None:
        """The ranking at the end of each minute since the last one kept, an hour back at most."""
        last = PastHour.at(moment - MINUTE).end
        for end in self._missing(last):
            ranking = self._trending(spark, PastHour(end), moment)
            rows = spark.createDataFrame([_as_row(ranking)], RANKING_ROW)
            append_once(rows.coalesce(1), self._history, writer, int(end.timestamp()) // 60)
            self._remembered = end.timestamp()

    def _missing(self, last: datetime) -> Iterable[datetime]:
        remembered = self._remembered if self._remembered is not None else (last - MINUTE).timestamp()
        count = min(60, int(last.timestamp() - remembered) // 60)
        return [last - MINUTE * back for back in range(count - 1, -1, -1)]

    def _trending(self, spark: SparkSession, hour: PastHour, moment: datetime) -> Ranking:
        engagement = self._load(spark, tables.ENGAGEMENT_BY_MINUTE).transform(trending, hour)
        return self._ranking(spark, engagement, hour, moment)

    def _rising(self, spark: SparkSession, hour: PastHour, moment: datetime) -> Ranking:
        engagement = self._load(spark, tables.FIRST_HOUR_ENGAGEMENT).transform(rising, hour)
        return self._ranking(spark, engagement, hour, moment)

    def _ranking(self, spark: SparkSession, engagement: DataFrame, hour: PastHour, moment: datetime) -> Ranking:
        conf = self._settings
        facts = self._load(spark, tables.POST_FACTS)
        best = engagement.transform(ranked, facts, conf.like_weight, conf.comment_weight, conf.top).collect()
        return Ranking(
            window_start=format_time(hour.start),
            window_end=format_time(hour.end),
            generated_at=format_time(moment),
            posts=[RankedPost(rank=rank, **row.asDict()) for rank, row in enumerate(best, 1)],
        )

    def _load(self, spark: SparkSession, table: str) -> DataFrame:
        return spark.read.format("delta").load(table_path(self._settings, table))


def _as_row(ranking: Ranking) -> dict[str, object]:
    times = {name: parse_time(getattr(ranking, name)) for name in ("window_start", "window_end", "generated_at")}
    return {**ranking.model_dump(), **times}


def offsets_of_batch(spark: SparkSession, checkpoint: str, batch_id: int) -> str:
    """Where Kafka was read up to at the end of this batch, {topic: {partition: next offset}}, from the query's own log."""
    lines = [row.value for row in spark.read.text(f"{checkpoint}/offsets/{batch_id}").collect()]
    merged: dict[str, dict[str, int]] = {}
    for line in lines[2:]:
        offsets = json.loads(line) if line.startswith("{") else {}
        merged.update({topic: parts for topic, parts in offsets.items() if isinstance(parts, dict)})
    return json.dumps(merged)
