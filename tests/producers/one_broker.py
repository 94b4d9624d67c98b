"""The embedded broker, which a test may kill and start again; its data is kept."""

import socket
from collections import Counter
from pathlib import Path
from types import TracebackType

from kafka import KafkaConsumer, TopicPartition

from conf.settings import Settings
from runtime.broker import broker_command, is_ready
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports


class OneBroker:
    """A context manager; nothing of it is left behind."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(data_dir=folder, kafka_bootstrap="", kafka_port=free_ports(2))
        self.bootstrap = self._settings.bootstrap
        self._process: Process | None = None

    def start(self) -> "OneBroker":
        """Return when it answers and has its topics."""
        process = Process.start("broker", broker_command(self._settings), self._settings.log_dir)
        self._process = process
        wait_until(self._listens, 60, process.last_words)
        wait_until(lambda: is_ready(self._settings), 60, process.last_words)
        ensure_topics(self._settings)
        return self

    def kill(self) -> None:
        """As kill -9."""
        if self._process is not None:
            self._process.kill()

    def values(self, topic: str) -> Counter[bytes]:
        """Everything in the topic now, each value with how often it is there."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, consumer_timeout_ms=10_000)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        left = sum(consumer.end_offsets(partitions).values())
        found = Counter(next(consumer).value for _ in range(left))
        consumer.close()
        return found

    def __enter__(self) -> "OneBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._settings.kafka_port)) == 0
