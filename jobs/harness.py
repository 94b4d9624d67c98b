"""What every job needs around its frames: a session, topics to read, a way to stop, numbers to watch."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import structlog
from kafka.errors import KafkaError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.kafka import broker_listens, no_broker, spark_options
from conf.settings import Settings, load_settings
from conf.store import WITH_S3_JARS, Place, checkpoints, complaint, session_conf
from contract.facts import FACT_TOPICS
from contract.spark import SEED_RECORD
from contract.topics import POSTS_WITH_COUNTS, result_topic
from jobs import realtime
from jobs.checkpoints import (
    FIX,
    FIX_BESIDE,
    FIX_DAMAGE,
    FIX_STORE,
    PROJECTED,
    STATES,
    pinned_start,
    refuse_other_shapes,
    refuse_other_topics,
    seed_name,
    sign_new,
)
from jobs.offsets import ends, topic_ids, total
from jobs.progress import ProgressListener
from jobs.rounds import Evict, Rounds, Start, change
from jobs.running import (
    FORGETTING,
    announce,
    only_one,
    refuse_unfinished_forget,
    refuse_unfinished_switch,
    state_file,
    stop_file,
)
from jobs.submit import INTERPRETED, empty, scratch

log = structlog.get_logger()
Batch = Callable[[DataFrame, int], None]
RECORDS_A_TASK = 100_000
"""One post may be half of all traffic: its part of a topic is then read by several tasks, and none waits for one."""
DAMAGE = ("FAILED_READ_FILE", "DELTA_", "_delta_log", ".parquet")
"""Signs that what Spark could not read is a table of the lake."""
PASSING = (
    "Too many open files",
    "SlowDown",
    "Unable to execute HTTP request",
    "Connection refused",
    "Connection reset",
)
"""Signs that it could not be read this time."""
TORN = ("CANNOT_LOAD_STATE_STORE", "Checksum error", "Incomplete log file")
"""Signs that what Spark could not read is a file of the checkpoint."""


def now() -> datetime:
    """The clock of the jobs; what is pure gets it as an argument."""
    return datetime.now(timezone.utc)


def spark_session(name: str, settings: Settings) -> SparkSession:
    """The session of a job; `conf/spark.conf` holds what spark-submit needs before it."""
    builder = SparkSession.builder.appName(name).config(map=session_conf(settings))
    spark = realtime.prepared(builder, settings).getOrCreate()
    if spark.version != version("pyspark"):
        raise SystemExit(
            f"spark-submit is of Spark {spark.version}, Python's is {version('pyspark')}: take both of one environment "
            "(SPARK_HOME, PYSPARK_PYTHON, spark.pyspark.python, and the folder of spark-submit)"
        )
    spark.conf.set("spark.sql.shuffle.partitions", settings.shuffle_partitions)
    # A live batch is over before generated code would have paid for itself: docs/decisions/no-generated-code.md.
    change(spark, INTERPRETED)
    return spark


FETCH_MS, FETCH_LIVE_MS = 20, 200
"""How long a broker holds a fetch that finds nothing. A consumer that comes back to a partition first waits for the one
it left behind: at each batch. In real time that is once in minutes, and all of them fetch all the time."""
SOON = {"kafka.request.timeout.ms": "10000", "kafka.default.api.timeout.ms": "15000"}
"""How long Kafka may take to answer before Spark asks anew, whoever leads then: 30 and 60 seconds by default."""


def read_topics(
    spark: SparkSession, settings: Settings, *topics: str, live: bool = False, in_batches: bool = True
) -> DataFrame:
    """Every record of the topics from the earliest on, in one scan; lost offsets stop the job.

    Live batches are read by no more tasks than there are partitions of state: each costs more than the few records that
    a partition of a topic has in one.
    """
    a_batch = {"maxOffsetsPerTrigger": settings.max_facts_a_batch, "maxRecordsPerPartition": RECORDS_A_TASK}
    records = (
        spark.readStream.format("kafka")
        .options(**spark_options(settings))
        .option("kafka.fetch.max.wait.ms", FETCH_MS if in_batches else FETCH_LIVE_MS)
        .options(**SOON)
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", pinned_start(checkpoints(settings), ",".join(topics)))
        .options(**(a_batch if in_batches else {}))
        .option("failOnDataLoss", "true")
        .load()
    )
    return records.coalesce(settings.shuffle_partitions) if live and in_batches else records


def read_records(spark: SparkSession, settings: Settings, topic: str) -> DataFrame:
    """All that a topic holds now, with headers, for a batch."""
    return (
        spark.read.format("kafka")
        .options(**spark_options(settings))
        .option("subscribe", topic)
        .option("includeHeaders", "true")
        .load()
    )


def was_written(settings: Settings, topic: str) -> bool:
    """Whether a topic ever had a record; true where Kafka refuses to tell, since Spark will say why."""
    try:
        return total(ends(settings, [topic])) > 0
    except KafkaError:
        return True


def read_facts(spark: SparkSession, settings: Settings, checkpoint: Place, live: bool, in_batches: bool) -> DataFrame:
    """Every fact record: those of Kafka, and before them those that `msm backfill` took from the archive."""
    records = read_topics(spark, settings, *FACT_TOPICS, live=live, in_batches=in_batches)
    name = seed_name(checkpoint)
    if not name:
        return records
    # Facts that arrive twice count once, and in any order: where the two meet does not matter.
    old = spark.readStream.schema(SEED_RECORD).option("maxFilesPerTrigger", 1).parquet(str(settings.seeds_dir / name))
    return records.select(*SEED_RECORD.fieldNames()).unionByName(old)


def start_query(
    changes: DataFrame, mode: str, name: str, batch: Batch, settings: Settings, trigger: Any
) -> StreamingQuery:
    """Hand each batch to a function, from the checkpoint of that name on."""
    return (
        changes.writeStream.outputMode(mode)
        .foreachBatch(batch)
        .queryName(name)
        .option("checkpointLocation", str(checkpoints(settings) / name))
        .trigger(**trigger)
        .start()
    )


def query_id(batch: DataFrame) -> str:
    """The id of the query that runs this batch: it is born with the checkpoint and stays."""
    return str(batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId"))


def main(
    name: str,
    start: Start,
    in_real_time: Callable[[Settings], bool] = lambda _: False,
    evict: Evict | None = None,
) -> None:
    """Run a job until it is told to stop: SIGTERM, Ctrl-C, or the file `<data>/run/NAME.stop`.

    Exits with 1 where a query fails, after one line that says why.
    """
    settings = load_settings().acting_as(name)
    if not broker_listens(settings.bootstrap, 5):  # Spark itself would wait for minutes
        raise SystemExit(no_broker(settings))
    if wrong := complaint(settings):
        raise SystemExit(wrong)
    with only_one(settings.run_dir, name):
        _forget_earlier(name, settings)
        refuse_unfinished_switch(settings.beside_dir)
        refuse_unfinished_forget(settings.data_dir, os.environ.get(FORGETTING, ""))
        fix = FIX_BESIDE if settings.beside else FIX_STORE if settings.store else FIX
        refuse_other_shapes(checkpoints(settings), name, settings.shuffle_partitions, fix)
        sign_new(checkpoints(settings), name)
        _refuse_other_topics(settings, name)
        _run(name, start, in_real_time(settings), evict, settings)


def _refuse_other_topics(settings: Settings, name: str) -> None:
    """Where Kafka refuses to tell, nothing is refused: Spark will say why."""
    results = [result_topic(POSTS_WITH_COUNTS, settings.beside)]
    reads = {query: results if query == PROJECTED else FACT_TOPICS for query in STATES[name]}
    with suppress(KafkaError):
        topics = sorted({topic for read in reads.values() for topic in read})
        ids, last = topic_ids(settings, topics), ends(settings, topics)
        for query, read in reads.items():
            own = {topic: ids[topic] for topic in read if topic in ids}
            refuse_other_topics(checkpoints(settings) / query, own, last)


def _run(name: str, start: Start, real_time: bool, evict: Evict | None, settings: Settings) -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    spark = spark_session(name, settings)
    spark.streams.addListener(ProgressListener())
    gc.freeze()  # what was imported stays, and need not be looked at after each batch
    try:
        announce(settings, name)
        Rounds(name, start, evict, real_time, told, settings).run(spark)
    except (PySparkException, Py4JJavaError, OSError) as error:
        log.error("job failed", job=name, reason=reason(error), fix=fix(with_causes(error)))
        sys.exit(1)
    finally:
        state_file(settings.run_dir, name).unlink(missing_ok=True)
        spark.stop()


def reason(error: Exception) -> str:
    """The line of an error that says what it is; Spark's are long."""
    first, *others = str(error).splitlines()
    return others[0].lstrip(": ") if others and first.startswith("An error occurred while calling") else first


def with_causes(error: BaseException) -> str:
    """What an error of Spark says, and what those say that it came from: a full disk is never on top."""
    cause = getattr(error, "_cause", None)
    return "\n".join([str(error), *([with_causes(cause)] if cause is not None else [])])


def fix(error: str) -> str:
    """What a person must do about an error of Spark, by a sign in its text."""
    known = {
        "UnknownTopicOrPartition": "make the topics: .venv/bin/msm topics",
        "S3AFileSystem not found": f"the jars for S3 are not there: {WITH_S3_JARS}",
        "No space left on device": "free some space; nothing is lost, the job goes on where it was",
        "SaslAuthenticationException": "Kafka knows another password: see docs/security.md",
        "SslAuthenticationException": "ca.pem did not sign this broker, or it does not take our certificate: "
        "see docs/security.md",
        "AuthorizationException": "grant each job its rights: .venv/bin/msm topics; with plain and tls by the "
        "cluster's own means (docs/security.md)",
        "INSUFFICIENT_SLOT": "a query in real time needs a core for each partition of the fact topics "
        "and three for each of its state: give Spark more, or set MSM_COUNTS_TRIGGER=micro-batch",
        "KAFKA_DATA_LOSS": "facts were deleted before they were read: do not start over, "
        "see 'offsets were lost' in docs/operations.md",
        "DELTA_CONCURRENT": "another process writes a table of the lake: leave OPTIMIZE and VACUUM to the jobs "
        "(docs/architecture.md)",
        **dict.fromkeys(PASSING, "nothing is lost: started again, the job goes on where it was"),
        **dict.fromkeys(
            DAMAGE,
            "a table of the lake is damaged: put back the file that is named, or start the table over "
            "with a new checkpoint (docs/operations.md)",
        ),
        **dict.fromkeys(TORN, f"the checkpoint is damaged: {FIX_DAMAGE}"),
    }
    return next((fix for sign, fix in known.items() if sign in error), "see the lines above")


def _forget_earlier(name: str, settings: Settings) -> None:
    """What one that was killed has left, and what it was asked; who asks from now on is heard."""
    state_file(settings.run_dir, name).unlink(missing_ok=True)
    stop_file(settings.run_dir, name).unlink(missing_ok=True)
    empty(scratch(settings, name))
