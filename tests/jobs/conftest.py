"""One Spark session for all tests, set up by the jobs' own conf/spark.conf."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.spark_session import new_session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    session = new_session(warehouse=str(tmp_path_factory.mktemp("warehouse")))
    yield session
    session.stop()
