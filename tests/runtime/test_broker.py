"""The embedded broker is a real one: it survives a kill, keeps its data, and its topics are what the registry says."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from conf.settings import Settings
from contract.topics import TOPICS
from runtime import broker, stack
from runtime.broker import embedded_broker
from runtime.processes import wait_until
from runtime.topics import differences, ensure_topics
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
        admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
        changed = ConfigResource(ConfigResourceType.TOPIC, "likes", configs={"message.timestamp.type": "CreateTime"})
        admin.alter_configs([changed])
        admin.close()
        said = "topic likes has message.timestamp.type=CreateTime, not LogAppendTime"
        # The controller answers before the broker has taken the change over.
        wait_until(lambda: said in "\n".join(differences(settings)), 30, lambda: "no difference is told")


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
