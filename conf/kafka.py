"""How a client reaches Kafka: in the clear, or over TLS with the password or the certificate of its own principal."""

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.net.compat import KafkaNetClient

from conf.settings import Settings

Client = TypeVar("Client")
MECHANISM = "SCRAM-SHA-512"
_MODULES = "org.apache.kafka.common.security"
_BY_PASSWORD = {
    "scram": (MECHANISM, f"{_MODULES}.scram.ScramLoginModule"),
    "plain": ("PLAIN", f"{_MODULES}.plain.PlainLoginModule"),
}
"""Mechanism of SASL, and its part of Java's client, of each MSM_KAFKA_SECURITY that has passwords."""
PROVIDER = "org.apache.kafka.common.config.provider.FileConfigProvider"
# Java reads the password from within a quoted string: neither quotes nor backslashes.
_PASSWORD = re.compile(r"^password=([!#-\[\]-~]+)$", re.MULTILINE)


def broker_listens(bootstrap: str, seconds: float = 2) -> bool:
    """Whether any of the brokers takes connections; each is given so many seconds.

    Asked before a client is made: one that finds nobody waits for half a minute.
    """
    return any(_listens(address.strip(), seconds) for address in bootstrap.split(","))


def connected(client: Callable[..., Client], **options: Any) -> Client:
    """A client that makes no topics: they have settings of their own, see contract/topics.py.

    One of kafka-python's own would make those that it asks for, where brokers let it, and leave its thread and sockets
    behind where it reaches none.
    """
    networks = list[KafkaNetClient]()

    def network(**others: Any) -> KafkaNetClient:
        networks.append(KafkaNetClient(**others))
        # Clients take this option, and kafka-python 3.0.12 does not pass it on.
        networks[-1]._manager.cluster.config["allow_auto_create_topics"] = False
        return networks[-1]

    try:
        return client(kafka_client=network, **options)
    except BaseException:
        for one in networks:
            one.close()
        raise


def no_broker(settings: Settings, error: Exception | None = None) -> str:
    """What is wrong, and what to look at, where none takes a connection; or takes it, and then there is an error."""
    said = f"no Kafka broker answers at {settings.bootstrap}: "
    if error is None:
        fix = "make up starts one, or set" if settings.embedded_kafka else "check"
        return f"{said}none takes a connection: {fix} MSM_KAFKA_BOOTSTRAP"
    secret = f" and {secret_file(settings, settings.principal)}" if settings.secured_kafka else ""
    return (
        f"{said}a connection is taken, and then comes {error!r}: check MSM_KAFKA_SECURITY (now "
        f"{settings.kafka_security}){secret}, and that the advertised.listeners of the brokers lead there from here"
    )


def _listens(address: str, seconds: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def ca_file(settings: Settings) -> Path:
    """The authority that signed the brokers' certificates; where it is missing, the system's are trusted."""
    return settings.kafka_secrets / "ca.pem"


def password_file(settings: Settings, principal: str) -> Path:
    """One line, `password=...`: a properties file, so that Java can read it by itself."""
    return settings.kafka_secrets / f"{principal}.properties"


def secret_file(settings: Settings, principal: str) -> Path:
    """By what it says who it is: its password, or in one file its key (PKCS #8, PEM) and its certificate."""
    certified = settings.kafka_secrets / f"{principal}.pem"
    return certified if settings.kafka_security == "tls" else password_file(settings, principal)


def python_options(settings: Settings) -> dict[str, Any]:
    """What kafka-python's clients take: the brokers, and where they ask, who one is."""
    brokers = {"bootstrap_servers": settings.bootstrap.split(",")}
    if not settings.secured_kafka:
        return brokers
    ca = ca_file(settings)
    trust = {"ssl_cafile": str(ca) if ca.exists() else None}
    if settings.kafka_security == "tls":
        own = str(_certificate(settings))
        return {**brokers, "security_protocol": "SSL", "ssl_certfile": own, "ssl_keyfile": own, **trust}
    mechanism, _ = _BY_PASSWORD[settings.kafka_security]
    return {
        **brokers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.kafka_login,
        "sasl_plain_password": password(settings, settings.principal),
        **trust,
    }


def spark_options(settings: Settings) -> dict[str, str]:
    """What Spark's Kafka sources and sinks take: of the password a reference, which only Kafka's client resolves."""
    java = {"bootstrap.servers": settings.bootstrap, **java_security(settings)}
    return {f"kafka.{name}": value for name, value in java.items()}


def java_security(settings: Settings) -> dict[str, str]:
    """The same for Java's clients. The password itself is in none of it, so plans and logs can show it all."""
    if not settings.secured_kafka:
        return {}
    ca = ca_file(settings)
    trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(ca)} if ca.exists() else {}
    if settings.kafka_security == "tls":
        own = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(_certificate(settings))}
        return {"security.protocol": "SSL", **own, **trust}
    password(settings, settings.principal)  # one sentence now is better than a stack trace on an executor
    mechanism, _ = _BY_PASSWORD[settings.kafka_security]
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": jaas_config(settings, settings.principal, settings.kafka_login),
        **providers(settings),
        **trust,
    }


def providers(settings: Settings) -> dict[str, str]:
    """Lets Kafka's own code read files of our folder of secrets, and no others."""
    return {
        "config.providers": "file",
        "config.providers.file.class": PROVIDER,
        "config.providers.file.param.allowed.paths": str(settings.kafka_secrets),
    }


def jaas_config(settings: Settings, principal: str, login: str) -> str:
    """Java's way to name a user, with a reference in the place of the password."""
    reference = f"${{file:{password_file(settings, principal)}:password}}"
    _, module = _BY_PASSWORD[settings.kafka_security]
    return f'{module} required username="{login}" password="{reference}";'


def password(settings: Settings, principal: str) -> str:
    """SystemExit with the fix where there is none."""
    file = password_file(settings, principal)
    found = _PASSWORD.search(_read(file, "password", principal))
    if not found:
        raise SystemExit(f"{file} must hold one line password=..., of visible ASCII without quotes and backslashes")
    return found[1]


def _certificate(settings: Settings) -> Path:
    file = secret_file(settings, settings.principal)
    said = _read(file, "certificate", settings.principal)
    if "-----BEGIN PRIVATE KEY-----" not in said or "-----BEGIN CERTIFICATE-----" not in said:
        raise SystemExit(f"{file} must hold a key without a password (BEGIN PRIVATE KEY), and then its certificate")
    return file


def _read(file: Path, what: str, principal: str) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise SystemExit(f"{file} must be text in UTF-8: write it anew as such (docs/security.md)") from None
    except OSError as error:
        raise SystemExit(
            f"no {what} of Kafka's principal {principal or '(none named)'}: {file}: {error.strerror}; "
            "put it there (docs/security.md), or set MSM_KAFKA_SECRETS_DIR to the folder that has it"
        ) from None


def partitions_of(consumer: KafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Of the topics that are there, in order."""
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]


def records_of(consumer: KafkaConsumer, places: Sequence[TopicPartition], last: int | None = None) -> Iterator[Any]:
    """What these partitions hold now, in the order of each; of each the `last` so many offsets, where that is given."""
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    for place, first in consumer.beginning_offsets(places).items():
        consumer.seek(place, first if last is None else max(first, ends[place] - last))
    while any(consumer.position(place) < ends[place] for place in places):
        for place, batch in consumer.poll(timeout_ms=200).items():
            yield from (record for record in batch if record.offset < ends[place])
