"""One secured broker for all tests of access, with a record in each topic."""

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from conf.kafka import python_options
from conf.settings import Settings
from contract.principals import ADMIN
from contract.topics import TOPICS
from runtime.access import ensure_access
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    kafka = free_ports(3)  # broker, controller, and for whoever has pages
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("secured"),
        kafka_bootstrap="",
        kafka_port=kafka,
        http_port=kafka + 2,
        kafka_security="scram",
    )
    with embedded_broker(settings):
        ensure_topics(settings)
        ensure_access(settings)
        producer = KafkaProducer(**python_options(settings.acting_as(ADMIN)))
        for topic in TOPICS:
            producer.send(topic.name, b"{}", b"k", partition=0).get(timeout=30)
        producer.close()
        yield settings
