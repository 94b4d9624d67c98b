"""Makes the cluster's topics what the registry says, or says where they differ."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import RESULT_TOPICS, TOPICS, Topic
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
    return [sentence for sentence, _ in _all_differences(settings)]


def refuse_wrong_topics(settings: Settings, say: Callable[[str], None]) -> None:
    """Say where topics differ; SystemExit with the fix where numbers would be wrong."""
    try:
        found = _all_differences(settings)
    except KafkaError as error:
        return say(f"nobody knows whether the topics are as contract/topics.py says: {error!r}")
    for sentence, _ in found:
        say(sentence)
    if wrong := [sentence for sentence, spoils in found if spoils]:
        raise SystemExit("\n".join(["nothing is started, since numbers would be wrong:", *wrong]))


def _all_differences(settings: Settings) -> list[tuple[str, bool]]:
    """Each with whether it makes numbers wrong."""
    with closing(admin_client(settings)) as admin:
        have = set(admin.list_topics())
        there = [topic for topic in TOPICS if topic.name in have]
        fix = ".venv/bin/msm topics makes it"
        missing = [(f"topic {topic.name} is missing: {fix}", False) for topic in TOPICS if topic.name not in have]
        brokers = _brokers(admin)
        return missing + [found for topic in there for found in _differences(admin, topic, brokers)]


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


def _differences(admin: KafkaAdminClient, topic: Topic, brokers: int) -> Iterator[tuple[str, bool]]:
    (described,) = admin.describe_topics([topic.name])
    replicas = min(len(partition["replica_nodes"]) for partition in described["partitions"])
    if replicas < _replicas(brokers):
        fix = "kafka-reassign-partitions adds them"
        yield f"topic {topic.name} has replicas={replicas}, not {_replicas(brokers)}: {fix}", False
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
    have = admin.describe_configs([resource], config_filter="all")["topic"][topic.name]
    if not have:
        yield f"topic {topic.name} does not show its settings to us: compare them with contract/topics.py", False
        return
    for name, wanted in _configs(topic, brokers).items():
        found = have.get(name, {})
        value = found.get("value")
        if value != wanted:
            own = value if found.get("config_source") == "DYNAMIC_TOPIC_CONFIG" else None
            sentence = f"topic {topic.name} has {name}={own}, not {wanted}: kafka-configs --alter changes it"
            yield sentence, _spoils(topic, name, value)


def _spoils(topic: Topic, name: str, value: str | None) -> bool:
    """Whether facts would bear the clocks of others, or results be deleted by age."""
    if value is None:
        return False
    if name == "message.timestamp.type":
        return topic.name in FACT_TOPICS
    return name == "cleanup.policy" and topic.name in RESULT_TOPICS and "compact" not in value
