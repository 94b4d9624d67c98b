"""On a cluster that knows passwords in the clear within TLS, or certificates, clients of Python and of Java get in."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from pyspark.sql import SparkSession

from conf.kafka import ca_file, password
from conf.settings import Settings
from jobs.harness import read_records
from producers.publisher import Publisher, Record
from runtime import broker_security
from runtime.access import ensure_access
from runtime.admin import admin_client, may_administer
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from tests.feeds.serving import free_ports

pytestmark = pytest.mark.kafka
NAMES = ("likes", "archive")
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
MORE = """\
listener.name.by_password.sasl.enabled.mechanisms=PLAIN
listener.name.by_password.plain.sasl.jaas.config={module} required {users};
listener.name.by_certificate.ssl.client.auth=required
"""


def certified(folder: Path, name: str) -> str:
    """A key and a certificate that is signed by itself, in the principal's file; the certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(command, check=True, capture_output=True)
    (folder / f"{name}.pem").write_text(key.read_text() + certificate.read_text())
    return certificate.read_text()


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Settings]]:
    """The settings for each way into a broker with both, made on top of the embedded one's own."""
    port = free_ports(4)  # broker, controller, and one for each way
    by_port = {"plain": port + 2, "tls": port + 3}
    own = Settings(data_dir=tmp_path_factory.mktemp("other"), kafka_port=port, kafka_security="scram")
    broker_security.make_secrets(own)
    with ca_file(own).open("a") as trusted:
        trusted.writelines(certified(own.kafka_secrets, name) for name in NAMES)
    listeners = f",BY_PASSWORD://127.0.0.1:{by_port['plain']},BY_CERTIFICATE://127.0.0.1:{by_port['tls']}\n"
    users = " ".join(f'user_{name}="{password(own, name)}"' for name in NAMES)
    lines = broker_security.PROPERTIES.replace("\nadvertised", f"{listeners}advertised", 1)
    lines = lines.replace("\nlistener.security", f"{listeners}listener.security", 1)
    lines = lines.replace("CLIENTS:SASL_SSL,", "CLIENTS:SASL_SSL,BY_PASSWORD:SASL_SSL,BY_CERTIFICATE:SSL,")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker_security, "PROPERTIES", lines + MORE.format(module=PLAIN, users=users))
        with embedded_broker(own):
            ensure_topics(own)
            ensure_access(own)
            with closing(admin_client(own)) as admin:
                admin.create_acls([_allow("likes", ACLOperation.WRITE), _allow("archive", ACLOperation.READ)])
            yield {
                way: Settings(
                    data_dir=tmp_path_factory.mktemp(way),
                    kafka_bootstrap=f"127.0.0.1:{port}",
                    kafka_security=way,
                    kafka_secrets_dir=str(own.kafka_secrets),
                )
                for way, port in by_port.items()
            }


def _allow(name: str, operation: ACLOperation) -> ACL:
    pattern = ResourcePattern(ResourceType.TOPIC, "likes")
    return ACL(f"User:CN={name}", "*", operation, ACLPermissionType.ALLOW, pattern)


@pytest.mark.spark
@pytest.mark.parametrize("way", ["plain", "tls"])
def test_a_service_writes_and_spark_reads(spark: SparkSession, others: dict[str, Settings], way: str) -> None:
    settings = others[way]
    with closing(Publisher(settings.acting_as("likes"), topics=["likes"])) as publisher:
        publisher.wait_until_ready(30)
        publisher.acknowledged(publisher.send(Record("likes", way.encode(), b"{}")))
    there = read_records(spark, settings.acting_as("archive"), "likes").where(f"key = '{way}'")
    assert [bytes(row.value) for row in there.collect()] == [b"{}"]


def test_whose_rights_they_are_is_the_clusters_own_affair(others: dict[str, Settings]) -> None:
    assert ensure_access(others["plain"]) == ensure_access(others["tls"]) == []
    assert may_administer(others["plain"])
    assert not may_administer(others["tls"])  # nobody has made a certificate for the administrator
