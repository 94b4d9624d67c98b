"""A broker for each test that wants one, and the session of the jobs' tests."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from tests.jobs.conftest import REPOSITORY, job_conf, spark
from tests.rebuild.earlier_checkpoint import PARTITIONS

__all__ = ["spark"]


def two_ports() -> int:
    """A free port whose successor is free too, from all that the system has: other test runs look for theirs."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with suppress(OSError):
                other.bind(("127.0.0.1", port + 1))
                return port


def new_session(partitions: int) -> SparkSession:
    """A session of conf/spark.conf with that many state partitions, for `earlier_checkpoint`."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master("local[2]").appName("rebuild")
    for name, value in job_conf().items():
        builder = builder.config(name, value)
    jars = ",".join(str(jar) for jar in sorted((REPOSITORY / ".jars" / "spark").glob("*.jar")))
    return (
        builder.config("spark.jars", jars)
        .config("spark.sql.shuffle.partitions", partitions)
        .config("spark.driver.memory", "1g")
        .getOrCreate()
    )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Settings]:
    """The settings of a broker that runs, with its topics."""
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_port=two_ports(), shuffle_partitions=PARTITIONS)
    with embedded_broker(settings):
        ensure_topics(settings)
        yield settings
