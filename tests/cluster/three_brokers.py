"""Three Kafka nodes of one quorum, each broker and controller, any of which a test may kill."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kafka.errors import KafkaError

from conf.settings import Settings
from contract.topics import TOPICS
from jobs.submit import COMPILES_LITTLE
from runtime.broker import CLUSTER_ID, KAFKA_JARS, OPEN, PROPERTIES, is_ready
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports

NODES = 3
PARTITIONS = 4
"""Of production's topics all but the number: here each replica is a folder of one small machine."""
# Later lines rule: what a cluster has otherwise than the embedded broker.
QUORUM = """\
node.id={node}
controller.quorum.voters={voters}
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
unclean.leader.election.enable=false
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
"""


@dataclass(frozen=True)
class ThreeBrokers:
    """Running nodes by their number, and how to reach them."""

    bootstrap: str
    nodes: dict[int, Process]


@contextmanager
def three_brokers(folder: Path) -> Iterator[ThreeBrokers]:
    """With the topics of the contract: three replicas, of which two acknowledge."""
    first = free_ports(2 * NODES)
    ports = {node: first + 2 * (node - 1) for node in range(1, NODES + 1)}
    bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports.values())
    voters = ",".join(f"{node}@127.0.0.1:{port + 1}" for node, port in ports.items())
    with ExitStack() as stack:
        nodes = {}
        for node, port in ports.items():
            nodes[node] = Process.start(f"broker-{node}", _command(folder / str(node), node, port, voters), folder)
            stack.callback(nodes[node].kill)
        settings = Settings(data_dir=folder, kafka_bootstrap=bootstrap)
        wait_until(lambda: is_ready(settings) and _made(settings), 600, nodes[1].last_words)
        yield ThreeBrokers(bootstrap, nodes)


def _made(settings: Settings) -> bool:
    """Whether the topics are there; not before all nodes are."""
    try:
        ensure_topics(settings, [replace(topic, partitions=min(topic.partitions, PARTITIONS)) for topic in TOPICS])
    except (SystemExit, KafkaError):
        return False
    return True


def _command(folder: Path, node: int, port: int, voters: str) -> list[str]:
    """The embedded broker's settings with those of a quorum after them, in a formatted folder."""
    folder.mkdir(parents=True)
    ports = {"port": port, "controller_port": port + 1}
    text = PROPERTIES.format(log_dir=folder / "log", **ports) + OPEN.format(**ports)
    properties = folder / "server.properties"
    properties.write_text(text + QUORUM.format(node=node, voters=voters))
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", *COMPILES_LITTLE.split(), "-cp", f"{KAFKA_JARS}/*"]
    line = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
    subprocess.run(line, check=True, capture_output=True)
    return [*java, "kafka.Kafka", str(properties)]
