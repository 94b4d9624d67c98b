"""A Spark session as the jobs have it, for queries on a real broker."""

import os
import sys

from pyspark.sql import SparkSession

from tests.jobs.conftest import REPOSITORY, job_conf


def new_session(partitions: int) -> SparkSession:
    """A session of conf/spark.conf with that many state partitions."""
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
