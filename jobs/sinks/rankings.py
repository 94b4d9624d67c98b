"""A tick of the trending job: rank, publish, remember the end of each minute."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial, reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from contract import tables
from contract.facts import format_time, parse_time
from contract.results import RISING_KEY, TRENDING_KEY, RankedPost, Ranking
from contract.spark import RANKING_ROW
from contract.topics import RANKING_MAX_BYTES, RISING_POSTS, TRENDING_POSTS, result_topic
from jobs.checkpoints import offsets_in
from jobs.sinks.kafka import producer_options, seen_header
from jobs.sinks.lake import append_once, ensure_table, table_path
from jobs.transforms.ranking import MINUTE, PastHour, Score, best, rising, scored, trending

_BOARDS = (("trending", TRENDING_POSTS, TRENDING_KEY), ("rising", RISING_POSTS, RISING_KEY))
AT_A_TIME = 5
"""Minutes of history that are made up for in one tick: each takes as long as a ranking, and the next one waits."""
_Load = Callable[[str], DataFrame]


class Rankings:
    """Ranks from the tables that the job's queries keep; owns nothing but the history table."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings = settings
        self._score = Score(settings.like_weight, settings.comment_weight, settings.top)
        self._history = ensure_table(spark, table_path(settings, tables.TRENDING_POSTS), RANKING_ROW)
        newest = spark.read.format("delta").load(self._history).agg(F.max("window_end").cast("double")).first()
        self._remembered = newest[0] if newest else None

    def publish(self, spark: SparkSession, moment: datetime, seen: str, fresh: Mapping[str, DataFrame]) -> None:
        """Both rankings as of `moment`, to Kafka; `fresh` has rows that the tables are still to get, by table."""
        hour, load = PastHour.at(moment), partial(self._load, spark, fresh)
        posts = self._best(load, _trending(load, hour), load(tables.FIRST_HOUR_ENGAGEMENT).transform(rising, hour))
        records = [
            F.struct(
                F.lit(result_topic(topic, self._settings.beside)).alias("topic"),
                F.lit(key).alias("key"),
                F.lit(_ranking(posts.get(board, []), hour, moment).model_dump_json()).alias("value"),
                seen_header(F.lit(seen)).alias("headers"),
            )
            for board, topic, key in _BOARDS
        ]
        # Literals, since rows of Python would come through a process of Python.
        write_rankings(spark.range(0, 1, 1, 1).select(F.inline(F.array(*records))), self._settings)

    def remember(self, spark: SparkSession, moment: datetime, writer: str) -> None:
        """The ranking at the end of each minute since the last one kept, an hour back at most; a few at a time."""
        last, load = PastHour.at(moment - MINUTE).end, partial(self._load, spark, {})
        for end in self._missing(last):
            posts = self._best(load, _trending(load, PastHour(end))).get("trending", [])
            rows = spark.createDataFrame([_as_row(_ranking(posts, PastHour(end), moment))], RANKING_ROW)
            append_once(rows.coalesce(1), self._history, writer, int(end.timestamp()) // 60)
            self._remembered = end.timestamp()

    def _missing(self, last: datetime) -> Iterable[datetime]:
        remembered = self._remembered if self._remembered is not None else (last - MINUTE).timestamp()
        count = min(60, int(last.timestamp() - remembered) // 60)
        return [last - MINUTE * back for back in range(count - 1, -1, -1)][:AT_A_TIME]

    def _best(self, load: _Load, *boards: DataFrame) -> dict[str, list[RankedPost]]:
        wanted = reduce(DataFrame.unionByName, boards).transform(scored, self._score)
        return best(wanted, load(tables.POST_FACTS), self._score.top)

    def _load(self, spark: SparkSession, fresh: Mapping[str, DataFrame], table: str) -> DataFrame:
        kept = spark.read.format("delta").load(table_path(self._settings, table))
        return kept.unionByName(fresh[table]) if table in fresh else kept


def _trending(load: _Load, hour: PastHour) -> DataFrame:
    return load(tables.ENGAGEMENT_BY_MINUTE).transform(trending, hour)


def write_rankings(records: DataFrame, settings: Settings) -> None:
    """Records of rankings to their topics, however long their captions are."""
    options = {**producer_options(settings), "kafka.max.request.size": str(RANKING_MAX_BYTES)}
    records.write.format("kafka").options(**options).save()


def _ranking(posts: list[RankedPost], hour: PastHour, moment: datetime) -> Ranking:
    return Ranking(
        window_start=format_time(hour.start),
        window_end=format_time(hour.end),
        generated_at=format_time(moment),
        posts=posts,
    )


def _as_row(ranking: Ranking) -> dict[str, object]:
    times = {name: parse_time(getattr(ranking, name)) for name in ("window_start", "window_end", "generated_at")}
    return {**ranking.model_dump(), **times}


def offsets_of_batch(checkpoint: Path, batch_id: int) -> str:
    """Where this batch ends in Kafka, {topic: {partition: next offset}}, from the query's own log."""
    return json.dumps(offsets_in((checkpoint / "offsets" / str(batch_id)).read_text()))
