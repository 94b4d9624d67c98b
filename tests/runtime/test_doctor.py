"""What the doctor says of a machine that is well, and of each thing that is wrong."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient
from rich.console import Console

from conf.settings import Settings
from runtime import doctor
from runtime.broker import embedded_broker
from runtime.doctor import Check, checks, locked_versions, main, mismatches, show
from runtime.jars import JARS, jar_folders
from runtime.processes import wait_until
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports

OFFSETS = 'v1\n{"batchWatermarkMs":0}\n{"likes":{"0":811}}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    kafka = free_ports(3)  # broker, controller, website
    return Settings(data_dir=tmp_path, kafka_port=kafka, http_port=kafka + 2)


@pytest.fixture
def somebody(settings: Settings) -> Iterator[socket.socket]:
    """Listens on the website's port."""
    with socket.create_server(("127.0.0.1", settings.http_port)) as listening:
        yield listening


@pytest.fixture(scope="module", autouse=True)
def jars() -> Iterator[None]:
    """All of them are looked at once: that reads 150 MB."""
    found = doctor.wrong_jars(JARS, jar_folders())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "wrong_jars", lambda *_: found)
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor does not wait long for a broker that is not there."""
    monkeypatch.setattr(doctor, "ANSWER_MS", 300)


def find(settings: Settings, name: str) -> Check:
    return next(check for check in checks(settings) if check.name == name)


def checkpoint(settings: Settings, name: str = "posts_with_counts") -> Path:
    folder = settings.checkpoint_dir / name
    (folder / "offsets").mkdir(parents=True)
    (folder / "metadata").write_text('{"id":"2898ab2c-bfd4-4cb5-a96a-d595026e4d7b"}')
    (folder / "offsets" / "9").write_text(OFFSETS)
    (folder / "offsets" / "10").write_text(OFFSETS)
    (folder / "offsets" / ".10.crc").write_bytes(b"crc")
    return folder


def test_a_machine_that_is_well_passes_and_the_exit_code_is_0(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [check for check in checks(settings) if not check.ok] == []
    assert main(settings) == 0
    assert "wrong" not in capsys.readouterr().out


def test_anything_wrong_makes_the_exit_code_1(settings: Settings, somebody: socket.socket) -> None:
    assert main(settings) == 1


@pytest.mark.parametrize(("trigger", "code"), [("auto", 0), ("micro-batch", 0), ("real-time", 1)])
def test_spark_for_real_time_that_is_not_whole_is_wrong_only_where_it_is_demanded(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trigger: str, code: int
) -> None:
    folder = tmp_path / ".venv-realtime"
    (folder / "bin").mkdir(parents=True)
    monkeypatch.setattr(doctor.realtime, "PYTHON", folder / "bin" / "python")
    chosen = Settings.model_validate({**settings.model_dump(), "counts_trigger": trigger})
    assert main(chosen) == code
    assert "make setup ARGS=--realtime" in find(chosen, "Spark for real time").fix
    (folder / ".stamp").touch()
    assert "Spark for real time" not in [check.name for check in checks(chosen)]


def test_little_memory_is_a_warning_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "MEMORY_WANTED", psutil.virtual_memory().total + 1)
    assert main(settings) == 0
    said = capsys.readouterr().out
    assert "warning" in said
    assert "memory: a whole stack takes some" in said


def test_a_data_dir_that_is_not_ours_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = settings.run_dir / "archive.lock"
    lock.parent.mkdir()
    lock.touch()
    assert find(settings, "data dir").ok
    monkeypatch.setattr(doctor.os, "access", lambda path, _: path != lock)
    assert find(settings, "data dir").said == f"{lock} is not ours to write to"
    below = settings.model_copy(update={"data_dir": lock / "data"})
    assert find(below, "data dir").said == f"{lock} is no folder"


def test_a_missing_java_comes_with_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    java = find(settings, "Java")
    assert not java.ok
    assert "apt-get install openjdk-17-jre-headless" in java.fix


def test_a_java_without_the_vector_module_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\necho java.base@17\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find(settings, "Java").ok
    assert find(settings, "Java's vector module").said == "jdk.incubator.vector is missing"


def test_a_port_that_something_else_uses_is_named_with_its_setting(settings: Settings, somebody: socket.socket) -> None:
    port = find(settings, "port of the website")
    assert port.said == f"{settings.http_port} is in use by something else"
    assert "MSM_HTTP_PORT" in port.fix


def test_a_host_that_is_not_this_machine_is_told_from_a_port_in_use(settings: Settings) -> None:
    port = find(settings.model_copy(update={"http_host": "192.0.2.1"}), "port of the website")
    assert port.said == f"{settings.http_port} at 192.0.2.1 cannot be had"
    assert "check MSM_HTTP_HOST" in port.fix


@pytest.mark.usefixtures("impatient")
def test_a_port_that_this_stack_uses_is_fine(settings: Settings, somebody: socket.socket) -> None:
    settings.run_dir.mkdir()
    started = psutil.Process(os.getpid()).create_time()
    (settings.run_dir / "stack.json").write_text(json.dumps({"pid": os.getpid(), "started_at": started, "parts": {}}))
    assert find(settings, "port of the website") == Check(
        "port of the website", True, f"{settings.http_port} is in use by this stack"
    )


def test_a_broker_that_is_not_running_is_fine_when_it_is_our_own(settings: Settings) -> None:
    assert find(settings, "broker") == Check("broker", True, "not running")


@pytest.mark.usefixtures("impatient")
def test_a_configured_cluster_that_does_not_answer_is_wrong(settings: Settings) -> None:
    there = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{settings.kafka_port}"})
    found = {check.name: check for check in checks(there)}
    assert not found["broker"].ok
    assert found["broker"].said.endswith("none takes a connection: check MSM_KAFKA_BOOTSTRAP")
    assert found["broker"].fix == "check MSM_KAFKA_BOOTSTRAP"
    assert "topics" not in found


@pytest.mark.kafka
def test_topics_are_compared_with_the_registry(settings: Settings) -> None:
    cluster = settings.model_copy(update={"kafka_bootstrap": settings.bootstrap})
    with embedded_broker(settings):
        assert "topic likes is missing" in find(cluster, "topics").said
        ensure_topics(cluster)
        assert find(cluster, "topics").ok
        with closing(KafkaAdminClient(bootstrap_servers=cluster.bootstrap)) as admin:
            admin.delete_topics(["likes"])
        wait_until(lambda: not find(cluster, "topics").ok, 120, lambda: "nobody misses the topic")


def test_a_readable_checkpoint_passes_and_tells_its_newest_batch(settings: Settings) -> None:
    checkpoint(settings)
    assert find(settings, "checkpoint posts_with_counts").said == "readable, batch 10"


def test_a_source_that_gave_nothing_yet_is_no_damage(settings: Settings) -> None:
    (checkpoint(settings) / "offsets" / "11").write_text(OFFSETS + "\n-\n17")
    assert find(settings, "checkpoint posts_with_counts").ok


def test_a_checkpoint_that_no_query_has_begun_with_is_none_that_is_damaged(settings: Settings) -> None:
    new = settings.checkpoint_dir / "events"
    new.mkdir(parents=True)
    (new / "made.json").write_text("{}")
    assert find(settings, "checkpoint events").said == "no batch yet"


def test_a_checkpoint_without_metadata_is_wrong(settings: Settings) -> None:
    (checkpoint(settings) / "metadata").unlink()
    assert find(settings, "checkpoint posts_with_counts").said == "its file metadata is missing or damaged"


@pytest.mark.parametrize("damage", ["", "v1", "v1\n{}\n{torn", "\0" * 100, 'v1\n{"batchWatermarkMs":0}'])
def test_a_checkpoint_whose_newest_offsets_are_torn_is_wrong(settings: Settings, damage: str) -> None:
    (checkpoint(settings) / "offsets" / "11").write_text(damage)
    found = find(settings, "checkpoint posts_with_counts")
    assert (found.ok, found.said) == (False, "its file offsets/11 is damaged")


def test_a_lock_may_pin_a_package_twice_for_older_and_newer_python() -> None:
    lock = "ab_c==1 ; python_version < '3.11' \\\n    --hash=sha256:0\nab_c==2 ; python_version >= '3.11'\nd==3\n"
    assert locked_versions(lock) == {"ab-c": {"1", "2"}, "d": {"3"}}


def test_jars_of_another_version_than_the_wheels_are_named(tmp_path: Path) -> None:
    for name in ("spark-sql-kafka-0-10_2.13-4.2.0.jar", "delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar"):
        (tmp_path / name).touch()
    assert list(mismatches("4.2.0", "4.4.0", tmp_path)) == []
    assert [line.split()[0] for line in mismatches("4.2.1", "4.4.0", tmp_path)] == [
        "spark-sql-kafka-0-10_2.13-4.2.1.jar"
    ]


def test_a_table_shows_brackets_as_they_are_and_the_fix_below() -> None:
    written = StringIO()
    show([Check("disk", False, "[Errno 28] full", "free some")], Console(width=80, file=written))
    text = written.getvalue()
    assert "[Errno 28] full" in text
    assert "disk: free some" in text
