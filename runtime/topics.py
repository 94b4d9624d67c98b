"""Makes the cluster's topics what the registry says, or says where they differ."""

from collections.abc import Sequence
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from conf.settings import Settings
from contract.topics import TOPICS, Topic
from runtime.admin import admin_client

_REPLICAS = 3


def ensure_topics(settings: Settings, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing; the names of the new ones. What exists stays as it is: see `differences`.

    SystemExit while there are fewer brokers than replicas are wanted and addresses were given: topics that are made
    then would have their records on the first brokers alone, for ever.
    """
    with closing(admin_client(settings)) as admin:
        have = set(admin.list_topics())
        brokers = _brokers(admin)
        missing = {topic.name: _request(topic, brokers) for topic in topics if topic.name not in have}
        named = len(settings.bootstrap.split(","))
        if missing and brokers < _replicas(named):
            raise SystemExit(
                f"Kafka has {brokers} of the {named} brokers that {settings.bootstrap} names, too few for the replicas "
                f"of new topics: start the others, or name fewer"
            )
        if missing:
            admin.create_topics(missing)
            admin.wait_for_topics(list(missing), timeout_ms=60_000)
        return list(missing)


def differences(settings: Settings) -> list[str]:
    """A sentence for each way in which the cluster's topics are not as the registry says."""
    with closing(admin_client(settings)) as admin:
        have = set(admin.list_topics())
        there = [topic for topic in TOPICS if topic.name in have]
        fix = ".venv/bin/msm topics makes it"
        missing = [f"topic {topic.name} is missing: {fix}" for topic in TOPICS if topic.name not in have]
        brokers = _brokers(admin)
        return missing + [complaint for topic in there for complaint in _differences(admin, topic, brokers)]


def _brokers(admin: KafkaAdminClient) -> int:
    return len(admin.describe_cluster()["brokers"])


def _replicas(brokers: int) -> int:
    return min(_REPLICAS, brokers)


def _request(topic: Topic, brokers: int) -> dict[str, object]:
    """Production size on a cluster; on a single broker the embedded one."""
    return {
        "num_partitions": topic.partitions if brokers > 1 else topic.embedded_partitions,
        "replication_factor": _replicas(brokers),
        "configs": _configs(topic, brokers),
    }


def _configs(topic: Topic, brokers: int) -> dict[str, str]:
    in_sync = {"min.insync.replicas": "2"} if brokers >= _REPLICAS else {}
    return {**topic.settings, **in_sync}


def _differences(admin: KafkaAdminClient, topic: Topic, brokers: int) -> list[str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
    have = admin.describe_configs([resource])["topic"][topic.name]
    wanted = _configs(topic, brokers)
    values = {name: have[name]["value"] for name in wanted if name in have}
    (described,) = admin.describe_topics([topic.name])
    replicas = min(len(partition["replica_nodes"]) for partition in described["partitions"])
    few = f"topic {topic.name} has replicas={replicas}, not {_replicas(brokers)}: kafka-reassign-partitions adds them"
    too_few = [few] if replicas < _replicas(brokers) else []
    return too_few + [
        f"topic {topic.name} has {name}={values.get(name)}, not {value}: kafka-configs --alter changes it"
        for name, value in wanted.items()
        if values.get(name) != value
    ]
