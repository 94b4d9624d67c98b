"""What clients are told: nothing where Kafka is open, else whom they act as; and Spark never learns a password."""

import gc
import os
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.kafka import connected, password, python_options, spark_options
from conf.settings import Settings
from jobs.harness import fix as fix_of
from jobs.offsets import consumer_of
from producers.publisher import kafka_producer
from runtime.processes import wait_until


def settings(folder: Path, principal: str = "likes") -> Settings:
    return Settings(kafka_bootstrap="k:1", kafka_security="scram", kafka_secrets_dir=str(folder)).acting_as(principal)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "likes.properties").write_text("# made by hand\npassword=a-secret\n")
    return tmp_path


def test_where_kafka_is_open_nothing_is_added(tmp_path: Path) -> None:
    opened = Settings(kafka_bootstrap="k:1", kafka_secrets_dir=str(tmp_path))
    assert python_options(opened) == {"bootstrap_servers": ["k:1"]}
    assert spark_options(opened) == {"kafka.bootstrap.servers": "k:1"}


def test_python_reads_the_password_and_spark_is_told_where_it_is(secrets: Path) -> None:
    assert python_options(settings(secrets))["sasl_plain_password"] == "a-secret"  # noqa: S105
    options = spark_options(settings(secrets))
    assert f"${{file:{secrets}/likes.properties:password}}" in options["kafka.sasl.jaas.config"]
    assert "a-secret" not in str(options)


def test_without_an_authority_of_its_own_the_systems_are_trusted(secrets: Path) -> None:
    assert python_options(settings(secrets))["ssl_cafile"] is None
    assert not any("truststore" in name for name in spark_options(settings(secrets)))
    (secrets / "ca.pem").touch()
    assert python_options(settings(secrets))["ssl_cafile"] == str(secrets / "ca.pem")
    assert spark_options(settings(secrets))["kafka.ssl.truststore.location"] == str(secrets / "ca.pem")


@pytest.mark.parametrize("principal", ["comments", ""])
def test_a_missing_password_is_named_with_its_file(secrets: Path, principal: str) -> None:
    with pytest.raises(SystemExit, match=rf"{principal}\.properties: No such file .* MSM_KAFKA_SECRETS_DIR"):
        spark_options(settings(secrets, principal))


@pytest.mark.parametrize("line", ["", "password=", 'password=a"b', "password=a b", "password=a\\b", "pass=a"])
def test_a_password_that_java_would_read_otherwise_is_refused(secrets: Path, line: str) -> None:
    (secrets / "likes.properties").write_text(line)
    with pytest.raises(SystemExit, match=r"likes\.properties must hold one line password="):
        password(settings(secrets), "likes")


def test_a_secret_that_is_no_utf_8_is_named_with_its_file(secrets: Path) -> None:
    (secrets / "likes.properties").write_bytes("password=a-secret\n# für".encode("latin-1"))
    with pytest.raises(SystemExit, match=r"likes\.properties must be text in UTF-8: write it anew"):
        password(settings(secrets), "likes")


def test_a_wrong_way_to_be_secure_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="kafka_security"):
        Settings(kafka_security="ssl")  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_the_embedded_broker_does_not_know_every_way(way: Literal["plain", "tls"]) -> None:
    with pytest.raises(ValueError, match="set MSM_KAFKA_BOOTSTRAP; the embedded broker knows scram"):
        Settings(kafka_security=way)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (None, r"no certificate of Kafka's principal likes: .*likes\.pem: No such file"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", r"likes\.pem must hold a key without a password"),
        ("-----BEGIN PRIVATE KEY-----\n", r"likes\.pem must hold .* and then its certificate"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, said: str | None, complaint: str
) -> None:
    if said:
        (tmp_path / "likes.pem").write_text(said)
    certified = settings(tmp_path).model_copy(update={"kafka_security": "tls"}).acting_as("likes")
    for options in (python_options, spark_options):
        with pytest.raises(SystemExit, match=complaint):
            options(certified)


@pytest.mark.parametrize("client", [KafkaConsumer, KafkaAdminClient])
def test_a_client_that_finds_a_deaf_broker_leaves_nothing_behind(client: type[Any]) -> None:
    def held() -> tuple[set[threading.Thread], int]:
        return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))

    gc.collect()  # what earlier tests left must not go meanwhile
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address, (threads, files) = f"127.0.0.1:{deaf.getsockname()[1]}", held()

        def nothing_more() -> bool:
            now, open_now = held()
            return now <= threads and open_now <= files

        for _ in range(2):
            with pytest.raises(KafkaError):
                connected(client, bootstrap_servers=address, bootstrap_timeout_ms=300)
        wait_until(nothing_more, 120, lambda: f"{held()} instead of {threads, files}")


def test_no_client_makes_topics_by_asking_for_them(cluster: Settings) -> None:
    options = python_options(cluster.acting_as("auditor"))
    with closing(consumer_of(cluster)) as consumer, closing(kafka_producer(options)) as producer:
        consumer.assign([TopicPartition("likes", 0)])
        assert producer.partitions_for("likes")
        for made in (consumer._cluster, producer._metadata):
            request = made.metadata_request()
            assert ([topic.name for topic in request.topics], request.allow_auto_topic_creation) == (["likes"], False)


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("SaslAuthenticationException: Authentication failed during authentication", "another password"),
        ("SslAuthenticationException: SSL handshake failed", "ca.pem did not sign"),
        ("TopicAuthorizationException: Topic authorization failed", "msm topics"),
    ],
)
def test_a_job_that_kafka_refuses_ends_with_the_fix(said: str, fix: str) -> None:
    assert fix in fix_of(f"[STREAM_FAILED] terminated with exception: org.apache.kafka.common.errors.{said}")
