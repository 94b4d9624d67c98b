"""Strimzi's cluster has the topics of the registry, and each principal just its rights."""

from contract.principals import ADMIN, PRINCIPALS
from contract.topics import RESULT_TOPICS, TOPICS, result_topic
from runtime.access import wanted_acls
from tests.deploy.manifests import of_kind, pods, settings


def test_each_topic_is_as_the_registry_says_on_three_brokers_of_which_two_acknowledge() -> None:
    manifests = {topic["spec"]["topicName"]: topic["spec"] for topic in of_kind("KafkaTopic").values()}
    assert set(manifests) == {topic.name for topic in TOPICS} | {result_topic(name, True) for name in RESULT_TOPICS}
    for topic in TOPICS:
        spec = manifests[topic.name]
        assert spec["partitions"] == topic.partitions
        assert spec["config"] == {**topic.settings, "min.insync.replicas": "2"}
    assert {spec["replicas"] for spec in manifests.values()} == {3}


def test_what_is_rebuilt_beside_has_topics_like_the_live_ones() -> None:
    manifests = {topic["spec"]["topicName"]: topic["spec"] for topic in of_kind("KafkaTopic").values()}
    for name in RESULT_TOPICS:
        live, beside = manifests[name], manifests[result_topic(name, True)]
        assert {**beside, "topicName": name} == live


def test_the_rights_are_those_of_the_principals_and_no_others() -> None:
    """Compared with what `msm topics` grants, which tests/kafka_access proves on a real broker."""
    granted = {
        (f"User:{name}", operation.upper(), acl["resource"]["name"])
        for name, user in of_kind("KafkaUser").items()
        for acl in user["spec"].get("authorization", {}).get("acls", ())
        for operation in acl["operations"]
    }
    wanted = {
        (acl.principal.replace("_", "-"), acl.operation.name, acl.resource_pattern.resource_name)
        for acl in wanted_acls()
    }
    assert granted == wanted
    patterns = [
        (acl["resource"]["type"], acl["resource"]["patternType"])
        for user in of_kind("KafkaUser").values()
        for acl in user["spec"].get("authorization", {}).get("acls", ())
    ]
    assert set(patterns) == {("topic", "literal")}


def test_only_the_administrator_is_above_the_rights() -> None:
    (cluster,) = of_kind("Kafka").values()
    assert cluster["spec"]["kafka"]["authorization"] == {"type": "simple", "superUsers": [ADMIN]}
    without_rights = {name for name, user in of_kind("KafkaUser").items() if "authorization" not in user["spec"]}
    assert without_rights == {ADMIN}


def test_clients_reach_the_listener_and_log_in_as_they_can() -> None:
    (cluster,) = of_kind("Kafka").values()
    (listener,) = cluster["spec"]["kafka"]["listeners"]
    assert settings()["MSM_KAFKA_BOOTSTRAP"] == f"{cluster['metadata']['name']}-kafka-bootstrap:{listener['port']}"
    assert listener["tls"] is True
    assert listener["authentication"]["type"] == "scram-sha-512"
    assert {user["spec"]["authentication"]["type"] for user in of_kind("KafkaUser").values()} == {"scram-sha-512"}


def test_three_brokers_hold_each_record_and_two_acknowledge_it() -> None:
    (cluster,) = of_kind("Kafka").values()
    config, pools = cluster["spec"]["kafka"]["config"], of_kind("KafkaNodePool")
    assert {tuple(pool["spec"]["roles"]): pool["spec"]["replicas"] for pool in pools.values()} == {
        ("controller",): 3,
        ("broker",): 3,
    }
    assert (config["default.replication.factor"], config["min.insync.replicas"]) == ("3", "2")
    assert config["unclean.leader.election.enable"] == "false"


def test_each_pod_logs_in_as_a_user_that_is_there_and_finds_its_password() -> None:
    known = {principal.name for principal in PRINCIPALS}
    for name, pod in pods().items():
        logins = [container for container in pod["containers"] if container["name"] == "kafka-login"]
        if name == "website":
            assert logins == []
            continue
        (login,) = logins
        (principal,) = [one for one in known if f"/kafka/{one}.properties;" in login["command"][-1]]
        (user,) = [volume for volume in pod["volumes"] if volume["name"] == "kafka-user"]
        secrets = [source["secret"]["name"] for source in user["projected"]["sources"]]
        assert secrets == [principal.replace("_", "-"), "mysocialmedia-cluster-ca-cert"]
        assert secrets[0] in of_kind("KafkaUser")
        if "executor" not in name:
            env = {one["name"]: one.get("value") for one in pod["containers"][-1]["env"]}
            assert env.get("MSM_KAFKA_USER", principal) == secrets[0]
