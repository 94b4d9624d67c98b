"""Spark's own cluster manager with two workers, all of them processes of this machine, and jobs for it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conf import REPOSITORY
from conf.settings import Settings
from jobs.submit import COMPILES_LITTLE, QUICK_START, job_env, spark_submit
from runtime.broker import is_taken
from runtime.parts import PYTHON
from runtime.processes import Process, wait_until
from tests.feeds.serving import free_ports

WORKERS = 2
HOST = "127.0.0.1"
LITTLE = f"-XX:+UseSerialGC {COMPILES_LITTLE}"
"""Many JVMs share two cores, and none of them grows old."""
QUICK = ("--driver-java-options", QUICK_START, "--conf", f"spark.executor.extraJavaOptions={LITTLE}")
"""The same for an application."""


@dataclass(frozen=True)
class Standalone:
    """A running master and its workers; killed, a worker takes its executors with it."""

    master: str
    workers: list[Process]


@contextmanager
def standalone(folder: Path, cores: int = 1, memory: str = "1g") -> Iterator[Standalone]:
    """`cores` and `memory` of each worker: how many executors it may have."""
    port = free_ports(1)
    master = f"spark://{HOST}:{port}"
    with ExitStack() as stack:

        def run(name: str, *arguments: str) -> Process:
            spark_class = str(Path(PYTHON).with_name("spark-class"))
            own = {"SPARK_LOCAL_IP": HOST, "SPARK_WORKER_DIR": str(folder / name), "PYSPARK_PYTHON": PYTHON}
            own["SPARK_DAEMON_JAVA_OPTS"] = LITTLE
            line = [spark_class, f"org.apache.spark.deploy.{arguments[0]}", "--host", HOST, *arguments[1:]]
            process = Process.start(name, line, folder, own, REPOSITORY)
            stack.callback(process.kill)
            return process

        leader = run("master", "master.Master", "--port", str(port), "--webui-port", "0")
        wait_until(lambda: is_taken(port), 120, leader.last_words)
        room = ("--cores", str(cores), "--memory", memory, "--webui-port", "0")
        workers = [run(f"worker-{number}", "worker.Worker", *room, master) for number in range(1, WORKERS + 1)]
        for worker in workers:
            wait_until(lambda log=worker.log: "registered with master" in log.read_text(), 120, worker.last_words)  # type: ignore[misc]
        yield Standalone(master, workers)


def submitted(settings: Settings, name: str, folder: Path, *room: str) -> Process:
    """The documented line, with room for its executors on this machine."""
    env = {
        **job_env(settings),
        "SPARK_LOCAL_IP": HOST,
        "MSM_KAFKA_BOOTSTRAP": settings.bootstrap,
        "MSM_SHUFFLE_PARTITIONS": str(settings.shuffle_partitions),
        "MSM_RANK_EVERY_SECONDS": "10",
    }
    line = spark_submit(settings, name, "--executor-cores", "1", "--driver-memory", "700m", *room, *QUICK)
    return Process.start(name, line, folder, env, REPOSITORY)
