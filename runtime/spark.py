"""Spark in the command's own process, for batches over topics and tables, set up as the jobs are."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from conf import REPOSITORY
from conf.settings import Settings
from conf.store import session_conf
from jobs.submit import empty, for_a_batch, jars, job_env, scratch, temporary_in


@contextmanager
def batch_session(settings: Settings) -> Iterator[SparkSession]:
    """A session for the time of a block; paths in conf/spark.conf start at the repository's folder."""
    os.environ |= job_env(settings)
    folder = scratch(settings, "msm")
    empty(folder)
    usual = ["--master", settings.spark_master, "--properties-file", "conf/spark.conf", *temporary_in(settings, folder)]
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*usual, *jars(settings), *for_a_batch(settings), "pyspark-shell"])
    os.chdir(REPOSITORY)
    builder = SparkSession.builder.appName("msm").config("spark.ui.showConsoleProgress", "false")
    spark = builder.config(map=session_conf(settings)).getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", settings.shuffle_partitions)
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()
