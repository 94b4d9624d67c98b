"""Security can be turned on for data that is there, and lost secrets are made anew."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from conf.kafka import python_options
from conf.settings import Settings
from runtime.access import ensure_access
from runtime.broker import embedded_broker
from runtime.broker_security import knows_administrator, make_secrets, remember_administrator
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports

pytestmark = pytest.mark.kafka
PLACE = TopicPartition("likes", 0)


def likes_as_the_auditor_sees_them(settings: Settings) -> int:
    with closing(KafkaConsumer(**python_options(settings.acting_as("auditor")))) as consumer:
        return int(consumer.end_offsets([PLACE])[PLACE])


def like(settings: Settings) -> None:
    with closing(KafkaProducer(**python_options(settings.acting_as("likes")))) as producer:
        producer.send("likes", b"{}", b"k", partition=0).get(timeout=30)


def test_a_broker_that_was_open_is_secured_with_all_its_data(tmp_path: Path) -> None:
    opened = Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_port=free_ports(2))
    with embedded_broker(opened):
        ensure_topics(opened)
        like(opened)
    secured = opened.model_copy(update={"kafka_security": "scram"})
    with embedded_broker(secured):
        ensure_access(secured)
        like(secured)
        assert likes_as_the_auditor_sees_them(secured) == 2


def test_a_lost_password_of_the_administrator_is_noticed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_security="scram")
    make_secrets(settings)
    settings.kafka_dir.mkdir()
    remember_administrator(settings)
    assert knows_administrator(settings)
    shutil.rmtree(settings.kafka_secrets)
    make_secrets(settings)
    assert not knows_administrator(settings)  # so that the next start gives it the new one
