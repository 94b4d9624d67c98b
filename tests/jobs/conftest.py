"""One Spark session for all tests of the jobs, set up by the jobs' own conf/spark.conf."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf" / "spark.conf"
NOT_FOR_TESTS = {"spark.driver.memory", "spark.driver.extraJavaOptions", "spark.pyspark.python", "spark.jars"}


def job_conf() -> dict[str, str]:
    """The settings of conf/spark.conf that a session can be built with."""
    lines = [line.split(None, 1) for line in CONF.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value.strip() for name, value in lines if name not in NOT_FOR_TESTS}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in job_conf().items():
        builder = builder.config(name, value)
    jars = ",".join(str(jar) for jar in sorted((REPOSITORY / ".jars" / "spark").glob("*.jar")))
    session = (
        builder.config("spark.jars", jars)
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.driver.memory", "1g")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
