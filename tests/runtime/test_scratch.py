"""A job's JVM has its temporary files in a folder of its own, which the next start empties."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conf import REPOSITORY
from conf.settings import Settings
from jobs import harness
from jobs.running import announce
from jobs.submit import job_env, scratch, spark_submit

NAME = "trending_posts"
LOOK = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
jvm = spark.sparkContext._jvm
said = {
    "temporary": jvm.java.lang.System.getProperty("java.io.tmpdir"),
    "local": jvm.org.apache.spark.util.Utils.getLocalDir(spark.sparkContext._jsc.sc().conf()),
    "options": list(jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()),
}
open(sys.argv[1], "w").write(json.dumps(said))
"""


def look(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """What a JVM that is started as the job's says of itself."""
    script, said = tmp_path / "look.py", tmp_path / "said.json"
    script.write_text(LOOK)
    *line, _ = spark_submit(settings, NAME)
    done = subprocess.run(
        [*line, str(script), str(said)],
        cwd=REPOSITORY,
        env={**os.environ, **job_env(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(said.read_text()))


@pytest.mark.spark
def test_a_jvm_keeps_its_temporary_files_in_the_data_dir_and_maps_its_classes_as_ever(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "my data", spark_master="local[1]")
    said = look(settings, tmp_path)
    folder = str(tmp_path / "my data" / "scratch" / NAME)
    assert said["temporary"] == folder
    assert said["local"].startswith(f"{folder}/")
    assert "-XX:SharedArchiveFile=.venv/classes.jsa" in said["options"]


def test_both_environments_of_spark_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, spark_master="local[1]")
    python = REPOSITORY / ".venv-realtime" / "bin" / "python"
    monkeypatch.setattr("jobs.submit.python_of", lambda *_: python)
    line = spark_submit(settings, NAME)
    assert f'spark.driver.defaultJavaOptions="-Djava.io.tmpdir={scratch(settings, NAME)}"' in line
    assert ".venv-realtime/classes.jsa" in line[line.index("--driver-java-options") + 1]


def test_on_a_cluster_each_machine_has_its_own(tmp_path: Path) -> None:
    line = spark_submit(Settings(data_dir=tmp_path, spark_master="spark://one:7077"), NAME)
    assert not any("scratch" in part for part in line)


def test_what_is_rebuilt_beside_shares_no_folder_with_the_live_job(tmp_path: Path) -> None:
    live, beside = (Settings(data_dir=tmp_path, beside=side) for side in (False, True))
    assert scratch(live, NAME) != scratch(beside, NAME)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a job whose start goes as far as its queries."""
    settings = Settings(data_dir=tmp_path, spark_master="local[1]")
    monkeypatch.setattr(harness, "load_settings", lambda: settings)
    monkeypatch.setattr(harness, "broker_listens", lambda *_: True)
    monkeypatch.setattr(harness, "_refuse_other_topics", lambda *_: None)
    return settings


def test_a_start_removes_what_a_killed_one_left(started: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scratch(started, NAME)
    (folder / "spark-1" / "StateStoreId").mkdir(parents=True)
    (folder / "librocksdbjni.so").touch()
    monkeypatch.setattr(harness, "_run", lambda *_: None)
    harness.main(NAME, lambda *_: [])
    assert list(folder.iterdir()) == []


def test_a_job_that_is_asked_to_stop_while_it_starts_stops(started: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = started.run_dir / f"{NAME}.stop"
    stop.parent.mkdir(parents=True)
    stop.touch()  # one that is not there any more was asked
    seen: list[bool] = []

    def run(*_: Any) -> None:
        seen.append(stop.exists())
        stop.touch()
        announce(started, NAME)
        seen.append(stop.exists())

    monkeypatch.setattr(harness, "_run", run)
    harness.main(NAME, lambda *_: [])
    assert seen == [False, True]
