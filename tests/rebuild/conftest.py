"""A broker for each test that wants one, and the session of the jobs' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports
from tests.jobs.conftest import spark
from tests.rebuild.earlier_checkpoint import PARTITIONS

__all__ = ["spark"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Settings]:
    """The settings of a broker that runs, with its topics."""
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_port=free_ports(2), shuffle_partitions=PARTITIONS)
    with embedded_broker(settings):
        ensure_topics(settings)
        yield settings
