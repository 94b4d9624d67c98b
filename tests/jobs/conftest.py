"""One Spark session for all tests, set up by the jobs' own conf/spark.conf."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.spark_session import new_session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = new_session()
    yield session
    session.stop()
