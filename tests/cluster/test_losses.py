"""The counts job on a Spark cluster and three brokers, as docs/cluster.md says, while one of each is killed."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from conf.settings import Settings
from contract.facts import FACT_BY_TYPE, FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from producers.bulk import BulkWriter
from producers.publisher import Publisher, Record
from runtime.admin import admin_client
from runtime.parts import job_metrics
from runtime.processes import Process, wait_until
from runtime.topics import differences
from tests import reference
from tests.cluster.standalone import Standalone, standalone, submitted
from tests.cluster.three_brokers import ThreeBrokers, three_brokers
from tests.stack.hostile import each_second, hostile_facts, in_topic, read

pytestmark = pytest.mark.stack
PATIENCE = 600
FACTS, A_SECOND = 3_000, 200
ELECTION_SECONDS = 90
"""The session of a killed broker (6 s), a new leader, and clients that find it, on a machine with other work."""


@dataclass
class Load:
    """Facts at a steady rate on a thread of its own, each acknowledged by two brokers."""

    publisher: Publisher
    records: list[Record]
    acknowledged: list[float] = field(default_factory=list)

    def run(self) -> None:
        with BulkWriter(self.publisher, in_flight=A_SECOND) as writer:
            for number, record in enumerate(self.records):
                if number % 20 == 0:
                    time.sleep(20 / A_SECOND)
                writer.write(record)
                self._note(writer.acknowledged)
            writer.flush()
            self._note(writer.acknowledged)

    def _note(self, acknowledged: int) -> None:
        self.acknowledged += [time.monotonic()] * (acknowledged - len(self.acknowledged))

    @property
    def longest_stall(self) -> float:
        return max(later - earlier for earlier, later in pairwise(self.acknowledged))


@dataclass
class Cluster:
    """All that runs."""

    brokers: ThreeBrokers
    spark: Standalone
    settings: Settings
    job: Process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with three_brokers(folder / "kafka") as brokers, standalone(folder / "spark") as spark:
        settings = Settings(
            data_dir=folder / "data", kafka_bootstrap=brokers.bootstrap, spark_master=spark.master, shuffle_partitions=4
        )
        job = submitted(settings, POSTS_WITH_COUNTS, folder, "--executor-memory", "700m")
        try:
            wait_until(
                lambda: job_metrics(settings, POSTS_WITH_COUNTS).get("msm_job_ready") == 1, PATIENCE, job.last_words
            )
            yield Cluster(brokers, spark, settings, job)
        finally:
            job.stop()


def leader(settings: Settings, topic: str) -> int:
    """The node that leads the first partition of the topic."""
    with closing(admin_client(settings)) as admin:
        (described,) = admin.describe_topics([topic])
        return int(described["partitions"][0]["leader_id"])


def test_a_topic_with_too_few_replicas_is_told(cluster: Cluster) -> None:
    assert differences(cluster.settings) == []
    with closing(admin_client(cluster.settings)) as admin:
        admin.delete_topics([TRENDING_POSTS])
        alone = {"num_partitions": 1, "replication_factor": 1}
        wait_until(lambda: TRENDING_POSTS not in admin.list_topics(), 120, lambda: "it is not deleted")
        admin.create_topics({TRENDING_POSTS: alone}, wait_for_metadata=True)
    said = {
        f"topic {TRENDING_POSTS} has replicas=1, not 3: kafka-reassign-partitions adds them",
        f"topic {TRENDING_POSTS} has min.insync.replicas=None, not 2: kafka-configs --alter changes it",
    }
    wait_until(lambda: said <= set(differences(cluster.settings)), 120, lambda: str(differences(cluster.settings)))


def test_a_broker_and_a_worker_are_killed_under_load_and_nothing_is_lost(cluster: Cluster) -> None:
    facts = hostile_facts(7, FACTS * 5 // 6)
    with closing(Publisher(cluster.settings)) as publisher:
        load = Load(publisher, [Record.of(FACT_BY_TYPE[fact["event_type"]].model_validate(fact)) for fact in facts])
        writing = threading.Thread(target=load.run, daemon=True)
        writing.start()
        wait_until(lambda: len(load.acknowledged) > len(facts) // 4, PATIENCE, lambda: "no facts are acknowledged")
        cluster.brokers.nodes[leader(cluster.settings, "likes")].kill()
        wait_until(lambda: len(load.acknowledged) > len(facts) // 2, PATIENCE, lambda: "no facts after the kill")
        cluster.spark.workers[0].kill()
        writing.join(PATIENCE)
    assert len(load.acknowledged) == len(facts)
    print(f"longest time without an acknowledgement: {load.longest_stall:.1f} s")
    assert load.longest_stall < ELECTION_SECONDS

    kept = {one.value for topic in FACT_TOPICS for one in read(cluster.settings, topic)}
    assert {record.value for record in load.records} - kept == set()
    counted = reference.posts_with_counts(facts)
    wait_until(
        each_second(lambda: in_topic(cluster.settings) == counted),
        PATIENCE,
        lambda: f"the counts are not the reference's: {cluster.job.last_words()}",
    )
    assert cluster.job.exit_code is None
    assert cluster.spark.workers[1].exit_code is None
