"""The session of the tests: conf/spark.conf, interpreted as the jobs are."""

import os
import sys

from pyspark.sql import SparkSession

from conf import REPOSITORY
from jobs.submit import ARCHIVE, COMPILES_LITTLE, INTERPRETED, spark_conf

NOT_FOR_TESTS = {"spark.driver.memory", "spark.driver.extraJavaOptions", "spark.pyspark.python", "spark.jars"}
OWN = {
    "spark.driver.memory": "1g",
    # Each plan runs once or twice, over a few rows: what compiles it costs more than it saves.
    "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC {COMPILES_LITTLE} {ARCHIVE}",
    **INTERPRETED,
    "spark.ui.showConsoleProgress": "false",
}


def job_conf() -> dict[str, str]:
    """The settings of conf/spark.conf that a session can be built with."""
    return {name: value for name, value in spark_conf().items() if name not in NOT_FOR_TESTS}


def new_session(partitions: int = 2, warehouse: str = "spark-warehouse") -> SparkSession:
    """A session of two cores, with that many partitions of state."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    jars = ",".join(str(jar) for jar in sorted((REPOSITORY / ".jars" / "spark").glob("*.jar")))
    conf = {
        **job_conf(),
        **OWN,
        "spark.jars": jars,
        "spark.sql.shuffle.partitions": str(partitions),
        "spark.sql.warehouse.dir": warehouse,
    }
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in conf.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
