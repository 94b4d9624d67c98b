"""A tick of the trending job: rank, publish, remember the end of each minute."""

import json
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from conf.store import checkpoints
from contract import tables
from contract.facts import format_time
from contract.results import BIRTHS, RISING_KEY, TRENDING_KEY, RankedPost, Ranking
from contract.spark import RANKING_ROW
from contract.topics import RANKING_MAX_BYTES, RISING_POSTS, TRENDING_POSTS, result_topic
from jobs.checkpoints import begun_batch, committed_offsets, done_batch, offsets_of_batch
from jobs.offsets import Offsets
from jobs.sinks.kafka import producer_options, seen_header
from jobs.sinks.lake import Appends, append, compact, ensure_table, replace, table_path
from jobs.transforms.panes import as_judged
from jobs.transforms.ranking import MINUTE, PastHour, Score, added, best, living, rising, scored, trending

log = structlog.get_logger()
_BOARDS = (("trending", TRENDING_POSTS, TRENDING_KEY), ("rising", RISING_POSTS, RISING_KEY))
_STRICT = {"mode": "FAILFAST"}
AT_A_TIME = 2
"""Minutes of history that one tick keeps at most: each takes as long as a ranking, and the next tick waits."""
KNOWN = 10_000
"""Posts that are kept in memory at most."""


@dataclass(frozen=True)
class Fresh:
    """What a batch brings that the tables are still to get: changes of panes, facts of posts, and of which posts."""

    panes: DataFrame
    posts: DataFrame
    post_ids: Collection[str]
    is_empty: bool


class FirstHours:
    """The table that the query of the first hours keeps, and what it got since the rankings read it.

    Two threads: that query's appends, the other one's rankings read.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = table_path(settings, tables.FIRST_HOUR_ENGAGEMENT)
        self._checkpoint = checkpoints(settings) / tables.FIRST_HOUR_ENGAGEMENT
        self._kept = Appends(settings, tables.FIRST_HOUR_ENGAGEMENT, tables.FIRST_HOUR_ENGAGEMENT)
        self._lock = threading.Lock()
        self._since: list[DataFrame] | None = None
        # A batch that was begun and not done may be in the table or not: it is done first of all.
        is_settled = begun_batch(self._checkpoint) == done_batch(self._checkpoint)
        self._reached: Offsets = committed_offsets(self._checkpoint) if is_settled else {}
        self.seen: Offsets = {}
        """Up to where the facts are in what `since` and `read` gave last; empty where that cannot be told."""

    def append(self, changes: DataFrame, writer: str, batch_id: int) -> None:
        """`changes` are in memory, cut off from their query. The first batch after a start may be in the table."""
        is_empty = changes.isEmpty()
        reached = offsets_of_batch(self._checkpoint, batch_id)
        with self._lock:
            if not is_empty:
                is_first = self._kept.may_be_a_repetition
                self._kept.append(changes.coalesce(1), writer, batch_id)
                if self._since is not None:
                    self._since = None if is_first else [*self._since, changes]
            self._reached = reached

    def since(self) -> list[DataFrame] | None:
        """What was appended since the last call, or since it was read; None where it must be read."""
        with self._lock:
            since, self.seen = self._since, self._reached
            self._since = None if since is None else []
            return since

    def read(self, spark: SparkSession, hour: PastHour) -> DataFrame:
        """Engagement of the posts born in this hour, as `rising` has it, in memory."""
        with self._lock:
            self._since, self.seen = [], self._reached
            table = spark.read.format("delta").load(self.path)
            return table.transform(rising, hour).localCheckpoint()


class Rankings:
    """Ranks from the tables that the job's queries keep; owns nothing but the history table.

    Listing the files of a table takes as long as reading them. So the sums of both boards are read once a minute, when
    the hour has moved on, and in between grow in memory by what each batch brings; where it brings nothing, the ranking
    is the same. A post is looked up once, and again after a new fact of it has come.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings, self.first_hours = settings, FirstHours(settings)
        self._score = Score(settings.like_weight, settings.comment_weight, settings.top)
        self._history = ensure_table(spark, table_path(settings, tables.TRENDING_POSTS), RANKING_ROW)
        # Those that a clock dated ahead must not keep later ones out; when their time has come they are made anew.
        end, is_over = F.col("window_end").cast("double"), F.col("window_end") <= F.current_timestamp()
        kept = spark.read.format("delta").load(self._history)
        (told,) = kept.agg(
            F.max(F.when(is_over, end)).alias("newest"), F.collect_set(F.when(~is_over, end)).alias("ahead")
        ).collect()
        self._remembered, self._ahead = told.newest, set(told.ahead)
        self._sums: tuple[PastHour, DataFrame] | None = None
        self._foremost: dict[str, list[RankedPost]] = {}
        self._posts: dict[str, Row | None] = {}

    def publish(self, spark: SparkSession, moment: datetime, seen: Offsets, fresh: Fresh | None) -> None:
        """Both rankings as of `moment`, to Kafka. Without `fresh` the tables have all that there is.

        `seen`: up to where the facts are in `fresh` and the tables of its query.
        """
        hour, since = PastHour.at(moment), self.first_hours.since()
        if not (fresh and self._sums and self._sums[0] == hour):
            since = None  # the tables are read anew
        if not (fresh and fresh.is_empty and since == []):
            self._foremost = self._ranked(spark, hour, fresh, since)
        seen_of = {"trending": seen, "rising": self._seen_of_rising(seen)}
        records = [
            F.struct(
                F.lit(result_topic(topic, self._settings.beside)).alias("topic"),
                F.lit(key).alias("key"),
                F.lit(_ranking(self._foremost.get(board, []), hour, moment).model_dump_json()).alias("value"),
                seen_header(F.lit(json.dumps(seen_of[board]))).alias("headers"),
            )
            for board, topic, key in _BOARDS
        ]
        # Literals, since rows of Python would come through a process of Python.
        write_rankings(spark.range(0, 1, 1, 1).select(F.inline(F.array(*records))), self._settings)

    def _ranked(
        self, spark: SparkSession, hour: PastHour, fresh: Fresh | None, since: list[DataFrame] | None
    ) -> dict[str, list[RankedPost]]:
        before, sums = self._sums, self._sums_with(spark, hour, fresh, since)
        try:
            posts = self._best(spark, sums, fresh)
        except (PySparkException, Py4JJavaError) as error:
            sums.unpersist()
            if not before:
                raise
            before[1].unpersist()
            log.warning("sums in memory are lost, as with an executor: reading anew", reason=str(error).split("\n")[0])
            self._sums = None
            return self._ranked(spark, hour, fresh, None)
        if before:
            before[1].unpersist()
        self._sums = (hour, sums)
        return posts

    def _seen_of_rising(self, seen: Offsets) -> Offsets:
        """Its engagement comes through a query of its own, which may have read more of the posts, or less."""
        engagement = self.first_hours.seen
        return {**engagement, "posts": seen.get("posts", {}), BIRTHS: engagement.get("posts", {})} if engagement else {}

    def skip(self, post_ids: Collection[str]) -> None:
        """A batch with facts of these posts goes to the tables unranked."""
        self._forget(post_ids)
        if self._sums:
            self._sums[1].unpersist()
            self._sums = None

    def remember(self, spark: SparkSession, moment: datetime) -> None:
        """The ranking at the end of each minute since the last one kept, an hour back at most; a few at a time.

        What the table has at a start tells which are kept: they need no fence. Once an hour their files are joined.
        """
        for end in self._missing(PastHour.at(moment - MINUTE).end):
            hour = PastHour(end)
            engagement = self._panes(spark).transform(trending, hour)
            posts = self._best(spark, engagement).get("trending", [])
            text = F.lit(_ranking(posts, hour, moment).model_dump_json())
            # A literal, since a row of Python would come through a process of Python, which executors need not have.
            rows = spark.range(0, 1, 1, 1).select(F.inline(F.array(F.from_json(text, RANKING_ROW, _STRICT))))
            if end.timestamp() in self._ahead:
                replace(rows, self._history, f"window_end = timestamp '{end:%Y-%m-%d %H:%M:%S}'")
            else:
                append(rows, self._history)
            self._remembered = end.timestamp()
            if not end.minute:
                compact(spark, self._history)

    def _missing(self, last: datetime) -> Iterable[datetime]:
        remembered = self._remembered if self._remembered is not None else (last - MINUTE).timestamp()
        count = min(60, int(last.timestamp() - remembered) // 60)
        return [last - MINUTE * back for back in range(count - 1, -1, -1)][:AT_A_TIME]

    def _sums_with(
        self, spark: SparkSession, hour: PastHour, fresh: Fresh | None, since: list[DataFrame] | None
    ) -> DataFrame:
        if self._sums and since is not None:
            sums, young = self._sums[1], [changes.transform(rising, hour) for changes in since]
        else:
            engagement = self._panes(spark).transform(trending, hour)
            # Cut off from its table: with each append Spark would read anew what it keeps of it, and count twice.
            sums, young = engagement.localCheckpoint(eager=False), [self.first_hours.read(spark, hour)]
        panes = [fresh.panes.transform(trending, hour)] if fresh else []
        return added(sums, *panes, *young).persist()

    def _best(
        self, spark: SparkSession, engagement: DataFrame, fresh: Fresh | None = None
    ) -> dict[str, list[RankedPost]]:
        self._forget(fresh.post_ids if fresh else ())

        def post_facts() -> DataFrame:
            facts = self._table(spark, tables.POST_FACTS)
            return facts.select(fresh.posts.columns).unionByName(fresh.posts) if fresh else facts

        def look_up(post_ids: set[str]) -> Mapping[str, Row]:
            if unknown := post_ids - self._posts.keys():
                found = living(post_facts(), unknown)
                self._posts |= {post_id: found.get(post_id) for post_id in unknown}
            return {post_id: row for post_id in post_ids if (row := self._posts[post_id])}

        return best(engagement.transform(scored, self._score), look_up, post_facts, self._score.top)

    def _forget(self, post_ids: Collection[str]) -> None:
        """What is known of posts is old once there are facts of them; and it must not grow for ever."""
        if len(self._posts) > KNOWN:
            self._posts.clear()
        for post_id in post_ids:
            self._posts.pop(post_id, None)

    def _panes(self, spark: SparkSession) -> DataFrame:
        return self._table(spark, tables.ENGAGEMENT_BY_MINUTE).transform(as_judged)

    def _table(self, spark: SparkSession, name: str) -> DataFrame:
        return spark.read.format("delta").load(table_path(self._settings, name))


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
