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
    """Create the topics that are missing; the names of the new ones. What exists stays as it is: see `differences`."""
    with closing(admin_client(settings)) as admin:
        have = set(admin.list_topics())
        brokers = len(admin.describe_cluster()["brokers"])
        missing = {topic.name: _request(topic, brokers) for topic in topics if topic.name not in have}
        if missing:
            admin.create_topics(missing, wait_for_metadata=True)
        return list(missing)


def differences(settings: Settings) -> list[str]:
    """A sentence for each way in which the cluster's topics are not as the registry says."""
    with closing(admin_client(settings)) as admin:
        have = set(admin.list_topics())
        there = [topic for topic in TOPICS if topic.name in have]
        missing = [f"topic {topic.name} is missing: msm topics makes it" for topic in TOPICS if topic.name not in have]
        return missing + [complaint for topic in there for complaint in _differences(admin, topic)]


def _request(topic: Topic, brokers: int) -> dict[str, object]:
    """Production size on a cluster; on a single broker the embedded one."""
    configs = dict(topic.settings)
    if brokers >= _REPLICAS:
        configs["min.insync.replicas"] = "2"
    return {
        "num_partitions": topic.partitions if brokers > 1 else topic.embedded_partitions,
        "replication_factor": min(_REPLICAS, brokers),
        "configs": configs,
    }


def _differences(admin: KafkaAdminClient, topic: Topic) -> list[str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
    have = admin.describe_configs([resource])["topic"][topic.name]
    values = {name: have[name]["value"] for name in topic.settings if name in have}
    return [
        f"topic {topic.name} has {name}={values.get(name)}, not {value}: kafka-configs --alter changes it"
        for name, value in topic.settings.items()
        if values.get(name) != value
    ]
