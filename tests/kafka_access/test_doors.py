"""Nobody gets in who does not prove who they are, and no client talks to a broker that does not prove who it is."""

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from conf.kafka import ca_file, python_options
from conf.settings import Settings
from contract.principals import ADMIN
from producers.publisher import Publisher
from runtime.broker_security import make_secrets
from runtime.processes import wait_until

pytestmark = pytest.mark.kafka


def knock(cluster: Settings, milliseconds: int, **changes: Any) -> None:
    """Try for so long to get in as the administrator, but for the changes, and be refused."""
    options = {**python_options(cluster.acting_as(ADMIN)), **changes}
    with pytest.raises(KafkaTimeoutError):
        KafkaAdminClient(**options, bootstrap_timeout_ms=milliseconds)


def broker_says(cluster: Settings, reason: str, **changes: Any) -> None:
    """Knock until the broker's log has the reason why it refused."""
    log = cluster.log_dir / "broker.log"
    before = len(log.read_text())
    _knock_until(reason, lambda: log.read_text()[before:], cluster, changes)


def client_says(cluster: Settings, caplog: pytest.LogCaptureFixture, reason: str, **changes: Any) -> None:
    """Knock until the client's log has it."""
    with caplog.at_level(logging.WARNING, "kafka"):
        _knock_until(reason, lambda: caplog.text, cluster, changes)


def _knock_until(reason: str, log: Callable[[], str], cluster: Settings, changes: dict[str, Any]) -> None:
    waits = (300 * 2**turn for turn in count())

    def is_told() -> bool:
        knock(cluster, next(waits), **changes)
        return reason in log()

    wait_until(is_told, 120, lambda: f"{reason!r} is not in: {log()}")


def test_the_administrator_gets_in_by_either_name_of_the_broker(cluster: Settings) -> None:
    for host in ("127.0.0.1", "localhost"):
        options = {**python_options(cluster.acting_as(ADMIN)), "bootstrap_servers": f"{host}:{cluster.kafka_port}"}
        with closing(KafkaAdminClient(**options)) as admin:
            assert admin.describe_cluster()["brokers"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sasl_plain_password": "wrong"},
        {"sasl_plain_username": "nobody"},
        {"sasl_plain_username": "likes"},  # with the administrator's password
    ],
    ids=["wrong password", "unknown user", "another's password"],
)
def test_who_does_not_know_the_password_is_refused(cluster: Settings, changes: dict[str, str]) -> None:
    broker_says(cluster, "invalid credentials with SASL mechanism SCRAM-SHA-512", **changes)


def test_a_service_that_is_not_let_in_says_so(cluster: Settings) -> None:
    stranger = cluster.model_copy(update={"kafka_user": "stranger"}).acting_as("likes")
    with closing(Publisher(stranger, topics=["likes"])) as publisher:
        wait_until(
            lambda: "does not let stranger in" in str(publisher.complaint()), 60, lambda: str(publisher.complaint())
        )


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ("PLAINTEXT", "SSL handshake failed"),
        ("SASL_PLAINTEXT", "SSL handshake failed"),
        ("SSL", "during SASL handshake"),
    ],
)
def test_who_does_not_encrypt_or_does_not_say_who_they_are_is_refused(
    cluster: Settings, protocol: str, reason: str
) -> None:
    broker_says(cluster, reason, security_protocol=protocol)


def test_another_mechanism_is_refused(cluster: Settings) -> None:
    broker_says(cluster, "Unsupported SASL mechanism PLAIN", sasl_mechanism="PLAIN")


def test_a_client_refuses_a_broker_that_its_authority_did_not_sign(
    cluster: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    other = Settings(data_dir=tmp_path, kafka_security="scram")
    make_secrets(other)
    client_says(cluster, caplog, "CERTIFICATE_VERIFY_FAILED", ssl_cafile=str(ca_file(other)))


def test_a_client_refuses_a_broker_of_another_name(cluster: Settings, caplog: pytest.LogCaptureFixture) -> None:
    same_place = f"[::ffff:127.0.0.1]:{cluster.kafka_port}"
    client_says(cluster, caplog, "IP address mismatch", bootstrap_servers=same_place)


def test_the_controllers_port_is_for_the_broker_alone(cluster: Settings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file(cluster))
    with (
        socket.create_connection(("127.0.0.1", cluster.kafka_port + 1), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        # TLS 1.3 asks for a certificate, but says that it must have one only after the handshake.
        pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|BAD_CERTIFICATE"),
    ):
        secure.recv(1)


def test_secrets_are_for_their_owner_alone(cluster: Settings) -> None:
    folder = cluster.kafka_secrets
    assert folder.stat().st_mode & 0o777 == 0o700
    readable = {file.name for file in folder.iterdir() if file.stat().st_mode & 0o077}
    assert readable <= {"ca.pem"}  # which everybody may know
