"""A shell that is set up for another Spark: everything that we start takes its own."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from conf import REPOSITORY
from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS
from jobs import realtime
from jobs.submit import job_env, spark_submit

JOB = """
import sys
import pyspark
print(sys.executable, pyspark.__version__)
"""
SESSION = """
from conf.settings import load_settings
from runtime.spark import batch_session
with batch_session(load_settings()) as spark:
    print(spark.version)
"""
PYTHONS = (Path(sys.executable), realtime.PYTHON)


@pytest.fixture(autouse=True)
def other_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guides to Spark tell people to write into their profile, as far as it is in our way."""
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    monkeypatch.setenv("PYSPARK_DRIVER_PYTHON", "jupyter")
    monkeypatch.setenv("PYSPARK_DRIVER_PYTHON_OPTS", "notebook")


def said_by(*line: str, **env: str) -> list[str]:
    done = subprocess.run(line, cwd=REPOSITORY, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parents[1].name)
def test_a_job_runs_on_the_spark_of_its_python(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not python.exists():
        pytest.skip("Spark 4.3 is not there: make setup ARGS=--realtime")
    monkeypatch.setattr("jobs.submit.python_of", lambda *_: python)
    settings = Settings(data_dir=tmp_path, spark_master="local[1]")
    *line, _ = spark_submit(settings, POSTS_WITH_COUNTS)
    job = tmp_path / "job.py"
    job.write_text(JOB)
    installed = said_by(str(python), "-c", "from importlib.metadata import version; print(version('pyspark'))")
    assert said_by(*line, str(job), **job_env(settings)) == [str(python), *installed]


def test_a_command_has_a_session_of_its_own_spark(tmp_path: Path) -> None:
    stack = {"MSM_DATA_DIR": str(tmp_path), "MSM_SPARK_MASTER": "local[1]"}
    assert said_by(sys.executable, "-c", SESSION, **stack) == [version("pyspark")]
