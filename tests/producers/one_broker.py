"""A real broker that a test may kill and start again."""

import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from types import TracebackType

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

JARS = Path(__file__).parents[2] / ".jars" / "kafka" / "*"
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
offsets.topic.replication.factor=1
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


class OneBroker:
    """One node on loopback; data is kept over a restart."""

    def __init__(self, folder: Path) -> None:
        self._port, controller = _free_port(), _free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._file = folder / "server.properties"
        self._file.write_text(PROPERTIES.format(port=self._port, controller=controller, folder=folder))
        self._process: subprocess.Popen[bytes] | None = None
        self._java("kafka.tools.StorageTool", "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c").wait()

    def start(self) -> "OneBroker":
        """Return when it answers."""
        self._process = self._java("kafka.Kafka")
        for _ in range(60):
            try:
                KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=1_000).close()
                return self
            except KafkaError:
                assert self._process.poll() is None, "the broker died at its start"
        raise AssertionError("the broker did not start within a minute")

    def create_topics(self, *names: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        topics = {name: {"num_partitions": 2, "replication_factor": 1} for name in names}
        admin.create_topics(topics, wait_for_metadata=True)
        admin.close()

    def kill(self) -> None:
        """As kill -9."""
        self._signal(signal.SIGKILL)

    def values(self, topic: str) -> Counter[bytes]:
        """Everything in the topic now, each value with how often it is there."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, consumer_timeout_ms=10_000)
        partitions = [TopicPartition(topic, number) for number in range(2)]
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
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _java(self, *command: str) -> subprocess.Popen[bytes]:
        line = ["java", "-Xmx256m", "-cp", str(JARS), *command, str(self._file)]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
