"""The embedded broker, which a test may kill and start again; its data is kept."""

from collections import Counter
from pathlib import Path
from types import TracebackType

from conf.settings import Settings
from runtime.broker import broker_command, is_ready
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports
from tests.stack.hostile import read


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
        wait_until(lambda: is_ready(self._settings), 120, process.last_words)
        ensure_topics(self._settings)
        return self

    def kill(self) -> None:
        """As kill -9."""
        if self._process is not None:
            self._process.kill()

    def values(self, topic: str) -> Counter[bytes]:
        """Everything in the topic now, each value with how often it is there."""
        return Counter(record.value for record in read(self._settings, topic))

    def __enter__(self) -> "OneBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
