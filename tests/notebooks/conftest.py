"""A real lake, small: written once by Spark for all tests of notebooks."""

from datetime import datetime, timezone
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  (its first import makes a cache of fonts, and would say so in a notebook)
import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from tests.notebooks.small_lake import write_lake


@pytest.fixture(scope="session")
def data_dir(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data dir whose lake the jobs' own transformations and sinks wrote."""
    folder = tmp_path_factory.mktemp("data")
    write_lake(spark.newSession(), Settings(data_dir=folder), datetime.now(timezone.utc))
    return folder
