"""Spark's real-time mode: all that differs from micro-batches stands here.

It runs aggregates from Spark 4.3 on, which Delta does not run on yet. So the counts job alone may run there, in an
environment of its own; when Delta follows, one environment will do. Source: Spark's guide to Structured Streaming,
"Real-time mode".
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError
from pyspark.sql import SparkSession

from conf import REPOSITORY
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS, TOPIC_BY_NAME
from jobs.offsets import partitions

PYTHON = REPOSITORY / ".venv-realtime" / "bin" / "python"
SET_UP = "make it with make setup ARGS=--realtime, or set MSM_COUNTS_TRIGGER=micro-batch"
TRIGGER: Any = {"realTime": "5 minutes"}  # not in the types of Spark 4.2
"""How often state is committed. Rows leave at once; a commit holds them up for a second, a kill repeats one batch."""
SLOTS, SPARE = 64, 8
"""The least there are; what is left beside those that a query needs."""
HELD = ("spark.shuffle.streaming.networkBufferMaxWaitTimeMs", 20)
"""How long a row waits for others before it goes through a shuffle; 50 ms by default, at each of three."""


def python_of(settings: Settings, job: str) -> Path:
    """The interpreter that a job of this stack runs on; SystemExit where real time is demanded and not there."""
    if job != POSTS_WITH_COUNTS or not _is_chosen(settings):
        return Path(sys.executable)
    if is_set_up():
        return PYTHON
    if settings.counts_trigger == "real-time":
        raise SystemExit(f"MSM_COUNTS_TRIGGER is real-time, and .venv-realtime is not there, or not whole: {SET_UP}")
    return Path(sys.executable)


def is_real_time(settings: Settings) -> bool:
    """Whether the counts of this stack are in real time, as far as its settings and this machine say.

    Where the settings demand it, the job may run on another machine than whoever asks.
    """
    return _is_chosen(settings) and (settings.counts_trigger == "real-time" or is_set_up())


def is_set_up() -> bool:
    """Whether its environment is there and whole: set-up writes the stamp last, and removes it first."""
    return (PYTHON.parents[1] / ".stamp").exists()


def _is_chosen(settings: Settings) -> bool:
    """Of itself only where Spark is one process, and so of the version that we set up."""
    if settings.beside or settings.store:
        return False
    is_ours = settings.counts_trigger == "auto" and settings.spark_master.startswith("local")
    return is_ours or settings.counts_trigger == "real-time"


def is_able() -> bool:
    """Whether this Spark runs aggregates in real time."""
    major, minor, *_ = version("pyspark").split(".")
    return (int(major), int(minor)) >= (4, 3)


def wanted(settings: Settings) -> bool:
    """Whether this process is to go live in real time; SystemExit where it cannot."""
    if not _is_chosen(settings):
        return False
    if settings.counts_trigger == "real-time" and not is_able():
        raise SystemExit(
            f"MSM_COUNTS_TRIGGER is real-time, and Spark {version('pyspark')} counts in batches only: {SET_UP}"
        )
    return is_able()


def prepared(builder: SparkSession.Builder, settings: Settings) -> SparkSession.Builder:
    """The options of a session where Spark is too new for Delta, with slots for all tasks where it is one process."""
    if not is_able():
        return builder
    if settings.spark_master.startswith("local") and wanted(settings):
        builder = builder.master(f"local[{slots(settings)}]")
    builder = builder.config("spark.sql.extensions", "").config("spark.sql.catalog.spark_catalog", "builtin")
    return builder.config(*HELD)


def slots(settings: Settings) -> int:
    """All stages run at once, a task for each partition of the topics and of three shuffles; most of them wait.

    Where Kafka does not tell its partitions, the topics have as many as in production.
    """
    try:
        read = partitions(settings, FACT_TOPICS)
    except KafkaError:
        read = sum(TOPIC_BY_NAME[topic].partitions for topic in FACT_TOPICS)
    return max(SLOTS, read + 3 * settings.shuffle_partitions + SPARE)
