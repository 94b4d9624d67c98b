"""The embedded broker is a real one: it survives a kill, keeps its data, and its topics are what the registry says."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaTimeoutError
from typer.testing import CliRunner

from conf import REPOSITORY
from conf.settings import Settings
from contract.topics import TOPICS
from runtime import broker, cli, stack, topics
from runtime.broker import CLUSTER_ID, embedded_broker, no_answer
from runtime.children import a_broker
from runtime.processes import wait_until
from runtime.topics import differences, ensure_topics, refuse_wrong_topics
from tests.feeds.serving import free_ports

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_port=free_ports(2))


def test_what_was_acknowledged_is_there_after_a_kill(settings: Settings) -> None:
    with embedded_broker(settings) as process:
        ensure_topics(settings)
        producer = KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all")
        at = producer.send("likes", key=b"p", value=b"{}").get(timeout=30)
        producer.close()
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
    with embedded_broker(settings):
        consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap)
        end = consumer.end_offsets([TopicPartition("likes", at.partition)])
        consumer.close()
        assert list(end.values()) == [at.offset + 1]


def test_topics_are_made_once_and_differences_are_told(settings: Settings) -> None:
    with embedded_broker(settings):
        assert sorted(ensure_topics(settings)) == sorted(topic.name for topic in TOPICS)
        assert ensure_topics(settings) == []
        assert differences(settings) == []
        alter(settings, "likes", "message.timestamp.type", "CreateTime")
        (said,) = differences(settings)
        assert said.startswith("topic likes has message.timestamp.type=CreateTime, not LogAppendTime")


def alter(settings: Settings, topic: str, name: str, value: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap)) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
    # The controller answers before the broker has taken the change over.
    said = f"topic {topic} has {name}={value}"
    wait_until(lambda: said in "\n".join(differences(settings)), 120, lambda: "no difference is told")


def test_topics_that_make_numbers_wrong_are_refused_and_others_told(settings: Settings) -> None:
    with embedded_broker(settings):
        ensure_topics(settings)
        alter(settings, "posts", "retention.ms", "86400000")
        alter(settings, "dead_letters", "message.timestamp.type", "CreateTime")
        alter(settings, "rising_posts", "cleanup.policy", "compact,delete")
        told: list[str] = []
        refuse_wrong_topics(settings, told.append)
        assert [line.split(",")[0] for line in told] == [
            "topic posts has retention.ms=86400000",
            "topic rising_posts has cleanup.policy=compact",
            "topic dead_letters has message.timestamp.type=CreateTime",
        ]
        alter(settings, "likes", "message.timestamp.type", "CreateTime")
        alter(settings, "posts_with_counts", "cleanup.policy", "delete")
        with pytest.raises(SystemExit, match="numbers would be wrong:") as refusal:
            refuse_wrong_topics(settings, told.append)
        assert [line.partition("=")[0] for line in str(refusal.value).splitlines()[1:]] == [
            "topic likes has message.timestamp.type",
            "topic posts_with_counts has cleanup.policy",
        ]


class SecretiveAdmin:
    """Stands in for Kafka's, where nobody may see the settings of topics."""

    def list_topics(self) -> list[str]:
        return [topic.name for topic in TOPICS]

    def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [1]}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"partitions": [{"replica_nodes": [1]}]} for _ in names]

    def describe_configs(self, resources: list[ConfigResource], config_filter: str) -> dict[str, Any]:
        return {"topic": {resource.name: {} for resource in resources}}

    def close(self) -> None:
        pass


def test_topics_whose_settings_may_not_be_seen_are_taken_as_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "admin_client", lambda _: SecretiveAdmin())
    told: list[str] = []
    refuse_wrong_topics(settings, told.append)
    assert told[0] == "topic posts does not show its settings to us: compare them with contract/topics.py"
    monkeypatch.setattr(SecretiveAdmin, "list_topics", lambda _: (_ for _ in ()).throw(KafkaTimeoutError("slow")))
    refuse_wrong_topics(settings, told.append)
    assert told[-1].endswith("KafkaTimeoutError('slow')")


def test_the_broker_of_another_data_dir_is_not_taken_for_ours(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    meta = other.kafka_dir / "log" / "meta.properties"
    said = rf"at {settings.bootstrap} is not that of {other.data_dir}: set MSM_KAFKA_PORT .*, MSM_DATA_DIR"
    with embedded_broker(settings):
        assert no_answer(settings) == ""
        with pytest.raises(SystemExit, match=said), a_broker(other):
            pytest.fail("it goes on")
        meta.parent.mkdir(parents=True)
        meta.write_text("cluster.id=another\n")
        assert re.search(said, no_answer(other))
        monkeypatch.setattr(cli, "load_settings", lambda: other)
        for command in ("simulate", "topics", "audit"):
            assert re.search(said, CliRunner().invoke(cli.app, [command]).output)
        assert no_answer(other.model_copy(update={"kafka_bootstrap": settings.bootstrap})) == ""


def test_each_data_dir_has_a_cluster_of_its_own() -> None:
    line = [sys.executable, "-c", "from runtime.broker import CLUSTER_ID; print(CLUSTER_ID)"]
    another = subprocess.run(line, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout.strip()
    for one in (CLUSTER_ID, another):
        assert re.fullmatch(r"msm[A-Za-z0-9_-]{19}", one)
    assert another != CLUSTER_ID


def test_who_takes_connections_and_is_no_such_broker_is_told_apart(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        named = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{mute.getsockname()[1]}"})
        said = no_answer(named, bootstrap_timeout_ms=300)
    assert "a connection is taken, and then comes KafkaTimeoutError(" in said
    for hint in ("MSM_KAFKA_SECURITY (now none)", "advertised.listeners"):
        assert hint in said
    assert "make up" not in said


def test_a_stack_makes_its_topics_in_a_cluster_that_was_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_launch", lambda *_: sys.exit("launched"))
    with embedded_broker(settings):
        named = settings.model_copy(update={"kafka_bootstrap": settings.bootstrap, "http_port": free_ports(1)})
        with pytest.raises(SystemExit, match="launched"):
            stack.start(named, print)
        assert ensure_topics(named) == []


def test_no_topics_are_made_while_brokers_are_missing(settings: Settings) -> None:
    with embedded_broker(settings):
        of_two = settings.model_copy(update={"kafka_bootstrap": f"{settings.bootstrap},127.0.0.1:{free_ports(1)}"})
        with pytest.raises(SystemExit, match=r"Kafka has 1 of the 2 brokers that .* start the others"):
            ensure_topics(of_two)
        ensure_topics(settings)
        assert ensure_topics(of_two) == []


def test_a_taken_port_is_named_with_the_fix(settings: Settings) -> None:
    taken = rf"port {settings.kafka_port} .* MSM_KAFKA_PORT"
    with embedded_broker(settings), pytest.raises(SystemExit, match=taken), embedded_broker(settings):
        raise AssertionError("two brokers on one port")


def test_a_full_disk_is_named_with_the_fix(settings: Settings) -> None:
    settings.kafka_dir.mkdir()
    (settings.kafka_dir / "log4j2.yaml").symlink_to("/dev/full")
    own = {"MSM_DATA_DIR": str(settings.data_dir), "MSM_KAFKA_PORT": str(settings.kafka_port)}
    line = [sys.executable, "-m", "runtime.broker"]
    done = subprocess.run(line, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"No space left on the disk of {settings.kafka_dir}: free some space")


def test_without_room_no_broker_is_started_that_could_not_say_why_it_dies(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.kafka_dir.mkdir()
    monkeypatch.setattr(broker, "load_settings", lambda: settings)
    monkeypatch.setattr(broker.shutil, "disk_usage", lambda _: SimpleNamespace(free=broker.ROOM - 1))
    monkeypatch.setattr(broker.os, "execv", lambda *_: pytest.fail("it was started"))
    with pytest.raises(SystemExit, match=f"No space left on the disk of {settings.kafka_dir}: free some space"):
        broker.main()
    with pytest.raises(SystemExit, match=f"No space left on the disk of {settings.kafka_dir}: free some space"):
        stack.start(settings, pytest.fail)
