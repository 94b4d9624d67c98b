"""Each principal does its work in Kafka, and nothing else: asked of a real broker, for every topic."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from typer.testing import CliRunner

from conf.kafka import MECHANISM, python_options
from conf.settings import Settings
from contract.principals import ADMIN, PRINCIPALS
from contract.topics import TOPIC_BY_NAME
from jobs.offsets import topic_ids
from runtime import cli
from runtime.access import access_differences, ensure_access, wanted_acls
from runtime.processes import wait_until

pytestmark = pytest.mark.kafka


def test_an_audit_wants_the_auditors_password_only(
    cluster: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca.pem", "auditor.properties"):
        shutil.copy(cluster.kafka_secrets / name, tmp_path)
    monkeypatch.setattr(cli, "load_settings", lambda: cluster.model_copy(update={"kafka_secrets_dir": str(tmp_path)}))
    monkeypatch.setattr(cli, "audit_once", lambda *_: (0, {"drift": 0}))
    audited = CliRunner().invoke(cli.app, ["audit", "--json"])
    assert (audited.exit_code, json.loads(audited.stdout)) == (0, {"drift": 0})
    (tmp_path / "auditor.properties").unlink()
    audited = CliRunner().invoke(cli.app, ["audit", "--json"])
    assert audited.exit_code == 2
    assert "no password of Kafka's principal auditor" in json.loads(audited.stdout)["error"]


class Rights(NamedTuple):
    reads: set[str]
    writes: set[str]


FACTS = {"posts", "likes", "comments"}
# Written down a second time, so that a change of the registry has to be meant.
RIGHTS = {
    "posting": Rights(set(), {"posts"}),
    "likes": Rights(set(), {"likes"}),
    "comments": Rights(set(), {"comments"}),
    "posts_with_counts": Rights(FACTS | {"posts_with_counts"}, {"posts_with_counts"}),
    "trending_posts": Rights(FACTS, {"trending_posts", "rising_posts"}),
    "archive": Rights(FACTS | {"posts_with_counts", "dead_letters"}, {"dead_letters"}),
    "refresh_feed": Rights({"posts_with_counts"}, set()),
    "trending_feed": Rights({"trending_posts", "rising_posts"}, set()),
    "simulator": Rights(set(), FACTS),
    "auditor": Rights(set(TOPIC_BY_NAME), set()),
}
BESIDE = {
    "posts_with_counts": Rights({"posts_with_counts-beside"}, {"posts_with_counts-beside"}),
    "trending_posts": Rights(set(), {"trending_posts-beside", "rising_posts-beside"}),
}
"""While something is rebuilt beside the live one there are these topics, too."""


def options(cluster: Settings, principal: str) -> dict[str, Any]:
    return python_options(cluster.acting_as(principal))


@pytest.fixture
def admin(cluster: Settings) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(**options(cluster, ADMIN))) as client:
        yield client


@pytest.fixture(scope="module")
def clients(cluster: Settings) -> Iterator[dict[str, KafkaAdminClient]]:
    """An administrator's client for each principal, who is none."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(KafkaAdminClient(**options(cluster, name)))) for name in RIGHTS}


def writes(cluster: Settings, principal: str, topic: str) -> bool:
    # A producer each: one that was refused a topic says so for all that it sends later.
    with closing(KafkaProducer(**options(cluster, principal), enable_idempotence=True)) as producer:
        try:
            producer.send(topic, b"{}", b"k").get(timeout=20)
        except KafkaError as error:
            if "AuthorizationFailed" not in str(error):
                raise
            return False
    return True


def reads(consumer: KafkaConsumer, topic: str) -> bool:
    if not consumer.partitions_for_topic(topic):
        return False
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    try:
        for _ in range(40):
            if consumer.poll(timeout_ms=500):
                return True
    except TopicAuthorizationFailedError:
        return False
    raise AssertionError(f"neither a record of {topic} nor a refusal")


@pytest.mark.parametrize("job", ["posts_with_counts", "trending_posts", "archive"])
def test_a_job_may_ask_whether_a_topic_is_the_same(cluster: Settings, job: str) -> None:
    ids = topic_ids(cluster.acting_as(job), sorted(FACTS))
    assert ids.keys() == FACTS
    assert len(set(ids.values())) == len(FACTS)


@pytest.mark.parametrize("name", RIGHTS)
def test_a_principal_writes_its_own_topics_and_no_other(cluster: Settings, name: str) -> None:
    assert {topic for topic in TOPIC_BY_NAME if writes(cluster, name, topic)} == RIGHTS[name].writes


@pytest.mark.parametrize("name", RIGHTS)
def test_a_principal_reads_what_its_work_needs_and_no_more(cluster: Settings, name: str) -> None:
    with closing(KafkaConsumer(**options(cluster, name), auto_offset_reset="earliest")) as consumer:
        assert {topic for topic in TOPIC_BY_NAME if reads(consumer, topic)} == RIGHTS[name].reads


def test_a_principal_does_not_even_see_what_it_may_not_touch(clients: dict[str, KafkaAdminClient]) -> None:
    for name, rights in RIGHTS.items():
        assert set(clients[name].list_topics()) == rights.reads | rights.writes, name


LIKES = ConfigResource(ConfigResourceType.TOPIC, "likes", configs={"retention.ms": "1"})
ALL_TOPICS = ResourcePattern(ResourceType.TOPIC, "*")
ANYTHING = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
ADMINISTRATION: dict[str, Callable[[KafkaAdminClient, str], object]] = {
    "make a topic": lambda client, _: client.create_topics({"mine": {"num_partitions": 1, "replication_factor": 1}}),
    "delete a topic": lambda client, _: client.delete_topics(["likes"]),
    "delete records": lambda client, _: client.delete_records({TopicPartition("likes", 0): 1}, partition_leader_id=1),
    "add partitions": lambda client, _: client.create_partitions({"likes": 9}),
    "change a topic's settings": lambda client, _: client.alter_configs([LIKES], raise_on_unknown=False),
    "grant itself a right": lambda client, name: client.create_acls(
        [ACL(f"User:{name}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, ALL_TOPICS)]
    ),
    "see who may do what": lambda client, _: client.describe_acls(
        ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, ANYTHING)
    ),
    "set the administrator's password": lambda client, _: client.alter_user_scram_credentials(
        [UserScramCredentialUpsertion(ADMIN, MECHANISM, "mine-now")]
    ),
}


def refusal(act: Callable[[], object]) -> str:
    """What the broker said; some of kafka-python's methods raise it, others answer it."""
    try:
        return str(act())
    except KafkaError as error:
        return f"{type(error).__name__} {error}"


@pytest.mark.parametrize("action", ADMINISTRATION)
def test_nobody_but_the_administrator_may(
    clients: dict[str, KafkaAdminClient], admin: KafkaAdminClient, action: str
) -> None:
    for name, client in clients.items():
        said = refusal(lambda client=client, name=name: ADMINISTRATION[action](client, name))
        assert "AuthorizationFailed" in said or "needs ALTER permission" in said, f"{name}: {said}"
    assert set(admin.list_topics()) == set(TOPIC_BY_NAME)
    assert len(admin.describe_topics(["likes"])[0]["partitions"]) == TOPIC_BY_NAME["likes"].embedded_partitions


def test_nobody_may_join_a_consumer_group(cluster: Settings) -> None:
    consumer = KafkaConsumer("likes", **options(cluster, "auditor"), group_id="theirs")
    with closing(consumer), pytest.raises(GroupAuthorizationFailedError):
        consumer.poll(timeout_ms=20_000)


def test_rights_that_were_given_by_hand_are_taken_back(cluster: Settings, admin: KafkaAdminClient) -> None:
    right = ACL(
        "User:likes", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "posts")
    )
    stranger = ACL("User:theirs", "*", ACLOperation.READ, ACLPermissionType.ALLOW, ALL_TOPICS)
    admin.create_acls([right, stranger])
    everything = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, ANYTHING)
    wait_until(lambda: {right, stranger} <= set(admin.describe_acls(everything)[0]), 120, lambda: "no rights came")
    assert access_differences(cluster) == ["likes may, and should not, write posts"]
    assert ensure_access(cluster) == ["likes may no more write posts"]
    assert access_differences(cluster) == []
    assert ensure_access(cluster) == []
    left, _ = admin.describe_acls(everything)
    assert set(left) == wanted_acls() | {stranger}


def test_the_registry_says_what_the_tests_do() -> None:
    nothing = Rights(set(), set())
    for one in PRINCIPALS:
        usual, beside = RIGHTS[one.name], BESIDE.get(one.name, nothing)
        assert Rights(set(one.reads), set(one.writes)) == Rights(
            usual.reads | beside.reads, usual.writes | beside.writes
        )
    assert [one.name for one in PRINCIPALS] == list(RIGHTS)
