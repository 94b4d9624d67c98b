"""A real lake, small: written once by Spark for all tests of notebooks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.submit import COMPILES_LITTLE

ROOT = Path(__file__).parents[2]
SPARK_SUBMIT = Path(sys.executable).with_name("spark-submit")
# Two thousand rows are done before a JVM has compiled anything well, so it had better not try.
QUICK = ["--conf", "spark.sql.codegen.wholeStage=false", "--conf", "spark.sql.adaptive.enabled=false"]
QUICK_JVM = {"JDK_JAVA_OPTIONS": COMPILES_LITTLE, "MSM_SHUFFLE_PARTITIONS": "1"}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data dir whose lake the jobs' own transformations and sinks wrote."""
    folder = tmp_path_factory.mktemp("data")
    here = {"MSM_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    script = str(ROOT / "tests/notebooks/small_lake.py")
    submit = [str(SPARK_SUBMIT), "--master", "local[2]", "--properties-file", "conf/spark.conf", *QUICK, script]
    done = subprocess.run(
        submit, cwd=ROOT, env={**os.environ, **QUICK_JVM, **here}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return folder
