"""Strimzi's topics and users, out of the registry of topics and the principals."""

from contract.principals import ADMIN, PRINCIPALS, Principal
from contract.topics import RESULT_TOPICS, TOPIC_BY_NAME, TOPICS, Topic, result_topic
from deploy.pods import CLUSTER, Manifest, kubernetes_name

REPLICAS, IN_SYNC = 3, 2
API = "kafka.strimzi.io/v1"


def topics() -> list[Manifest]:
    """As the registry says, in production's size; also those of what is rebuilt beside the running one."""
    beside = [_topic(TOPIC_BY_NAME[name], result_topic(name, True)) for name in RESULT_TOPICS]
    return [_topic(topic, topic.name) for topic in TOPICS] + beside


def _topic(topic: Topic, name: str) -> Manifest:
    return {
        **_head("KafkaTopic", name),
        "spec": {
            "topicName": name,
            "partitions": topic.partitions,
            "replicas": REPLICAS,
            "config": {**topic.settings, "min.insync.replicas": str(IN_SYNC)},
        },
    }


def users() -> list[Manifest]:
    """A user a principal with just its rights, and the administrator, whom the cluster lists as a super user."""
    admin = {**_head("KafkaUser", ADMIN), "spec": {"authentication": {"type": "scram-sha-512"}}}
    return [*(_user(principal) for principal in PRINCIPALS), admin]


def _user(principal: Principal) -> Manifest:
    rights = [("Read", topic) for topic in principal.reads] + [("Write", topic) for topic in principal.writes]
    acls = [
        {"resource": {"type": "topic", "name": topic, "patternType": "literal"}, "operations": [operation]}
        for operation, topic in rights
    ]
    authorization = {"type": "simple", "acls": acls}
    return {
        **_head("KafkaUser", principal.name),
        "spec": {"authentication": {"type": "scram-sha-512"}, "authorization": authorization},
    }


def _head(kind: str, name: str) -> Manifest:
    metadata = {"name": kubernetes_name(name), "labels": {"strimzi.io/cluster": CLUSTER}}
    return {"apiVersion": API, "kind": kind, "metadata": metadata}
