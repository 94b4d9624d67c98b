"""A broker of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conf.settings import Settings
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports


@contextmanager
def running_broker(folder: Path, **others: Any) -> Iterator[Settings]:
    """The settings of a broker that runs, with its topics."""
    settings = Settings(data_dir=folder, kafka_bootstrap="", kafka_port=free_ports(2), **others)
    with embedded_broker(settings):
        ensure_topics(settings)
        yield settings
