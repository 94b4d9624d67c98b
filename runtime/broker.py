"""The embedded Kafka broker: one node, KRaft combined mode, loopback only, formatted once.

.venv/bin/python -m runtime.broker
"""

import errno
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from conf.kafka import broker_listens, no_broker
from conf.settings import Settings, load_settings
from contract.principals import ADMIN
from runtime.access import ensure_access, upsert_users
from runtime.admin import admin_client, may_administer
from runtime.broker_security import (
    administrator,
    knows_administrator,
    make_secrets,
    remember_administrator,
    secured_properties,
)
from runtime.jars import JARS
from runtime.machine import INSTALL_JAVA, SetupError, check_disk
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics, refuse_wrong_topics

KAFKA_JARS = JARS / "kafka"
CLUSTER_ID = f"msm{secrets.token_urlsafe(16)[3:]}"
"""Of a folder that this process formats: 16 bytes in base64, without a dash in front, which would be an option."""
LOOPBACK = "127.0.0.1"
ROOM = 32 << 20
"""Bytes; with less the broker dies of a fault in a file that it has mapped, and nothing it writes says why."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
# After a kill the broker is trusted again in two seconds, not nine.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=33554432
# What was deleted leaves the disk in seconds, not minutes: msm forget waits for it.
log.retention.check.interval.ms=3000
log.segment.delete.delay.ms=1000
"""

OPEN = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
"""

LOGGING = """\
Configuration:
  Appenders:
    Console:
      name: out
      target: SYSTEM_OUT
      PatternLayout: {pattern: "%d{ISO8601} %p %c{1}: %m%n"}
  Loggers:
    Root:
      level: warn
      AppenderRef: {ref: out}
    Logger:
      # Who was not let in, and who was refused what.
      - {name: org.apache.kafka.common.network.Selector, level: info}
      - {name: kafka.authorizer.logger, level: info}
"""


def broker_command(settings: Settings) -> list[str]:
    """The command that runs the broker; writes its configuration and formats its folder, if nobody did before."""
    if not any(KAFKA_JARS.glob("kafka_2.13-*.jar")):
        raise SystemExit(f"no Kafka jars in {KAFKA_JARS}: run make setup")
    is_new = not _meta(settings).exists()
    if settings.secured_kafka and not is_new:
        _admit_administrator(settings)
    properties = _configure(settings)
    if is_new:
        _format(settings, properties)
    return [*_java(settings), "kafka.Kafka", str(properties)]


def _meta(settings: Settings) -> Path:
    return settings.kafka_dir / "log" / "meta.properties"


def _admit_administrator(settings: Settings) -> None:
    """A folder from before security, or from before its secrets were lost: for a moment it is open, as it was."""
    make_secrets(settings)
    if knows_administrator(settings):
        return
    opened = settings.model_copy(update={"kafka_security": "none"})
    with embedded_broker(opened, "broker-open"), closing(admin_client(opened)) as admin:
        upsert_users(admin, settings, [ADMIN])
    remember_administrator(settings)


def _configure(settings: Settings) -> Path:
    folder = settings.kafka_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log4j2.yaml").write_text(LOGGING)
    properties = folder / "server.properties"
    ports = {"port": settings.kafka_port, "controller_port": settings.kafka_port + 1}
    common = PROPERTIES.format(log_dir=folder / "log", **ports)
    text = common + (secured_properties(settings) if settings.secured_kafka else OPEN.format(**ports))
    properties.write_text(_as_properties(text))
    return properties


def _as_properties(text: str) -> str:
    """Java reads properties as Latin-1, and what is not in ASCII by its number in UTF-16 (java.util.Properties)."""
    return "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in text)


def _java(settings: Settings) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise SystemExit(f"Java is missing: {INSTALL_JAVA}")
    logging = settings.kafka_dir / "log4j2.yaml"
    return [java, "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{KAFKA_JARS}/*"]


def _format(settings: Settings, properties: Path) -> None:
    command = [*_java(settings)[:2], "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_JARS}/*", "kafka.tools.StorageTool"]
    command += ["format", "-t", CLUSTER_ID, "-c", str(properties)]
    with administrator(settings) as arguments:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the broker's folder {properties.parent} cannot be formatted: {done.stderr.strip()[-400:]}")
    if settings.secured_kafka:
        remember_administrator(settings)


def refuse_taken_ports(settings: Settings) -> None:
    """SystemExit with the fix where a port of the broker is in use."""
    for port in (settings.kafka_port, settings.kafka_port + 1):
        if is_taken(port):
            raise SystemExit(
                f"port {port} of the embedded broker is in use: stop what uses it, or set MSM_KAFKA_PORT to another "
                f"(the controller takes the next one), MSM_DATA_DIR to the folder of the stack that uses it, or "
                f"MSM_KAFKA_BOOTSTRAP to use a cluster that runs already"
            )


READY_SECONDS = 300
"""How long a broker may take, which looks through its log after a kill."""


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody listens on the port; SystemExit with the fix where one cannot listen at this host at all."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise SystemExit(
                f"cannot listen on {host}:{port} ({error}): check MSM_HTTP_HOST, MSM_HTTP_PORT and MSM_KAFKA_PORT"
            ) from None
    return False


def prepare_cluster(settings: Settings, say: Callable[[str], None]) -> None:
    """Topics and rights in a cluster that was named; where somebody else administers it, `msm topics` has made them."""
    if may_administer(settings):
        refuse_missing_broker(settings)
        ensure_topics(settings)
        refuse_wrong_topics(settings, say)
        ensure_access(settings)


def refuse_missing_broker(settings: Settings) -> None:
    """SystemExit with the fix where no broker answers, or another stack's."""
    if wrong := no_answer(settings):
        raise SystemExit(wrong)


def is_ready(settings: Settings) -> bool:
    """Whether the brokers answer the administrator, and, embedded, are of this data dir."""
    return not no_answer(settings)


def no_answer(settings: Settings, principal: str = ADMIN, **options: Any) -> str:
    """Why one cannot use these brokers, with the fix; empty where they answer, and are ours."""
    settings = settings.acting_as(principal)
    if not broker_listens(settings.bootstrap):
        return no_broker(settings)
    try:
        with closing(admin_client(settings, principal, request_timeout_ms=5_000, **options)) as admin:
            cluster = admin.describe_cluster()["cluster_id"]
    except (KafkaError, OSError, ValueError) as error:
        return no_broker(settings, error)
    if settings.embedded_kafka and cluster != _cluster_id(settings):
        return (
            f"the broker at {settings.bootstrap} is not that of {settings.data_dir}: set MSM_KAFKA_PORT to the port of "
            "this stack, MSM_DATA_DIR to the folder of that one, or MSM_KAFKA_BOOTSTRAP if it is a cluster of your own"
        )
    return ""


def _cluster_id(settings: Settings) -> str:
    """What the broker's folder was formatted with; empty where there is none."""
    with suppress(OSError):
        found = re.search(r"^cluster\.id=(\S+)", _meta(settings).read_text(), re.MULTILINE)
        return found[1] if found else ""
    return ""


@contextmanager
def embedded_broker(settings: Settings, name: str = "broker") -> Iterator[Process]:
    """A broker of one's own for the time of a block, under the name of its log; data stays in `settings.kafka_dir`."""
    refuse_taken_ports(settings)
    process = Process.start(name, broker_command(settings), settings.log_dir)

    def is_up() -> bool:
        if process.exit_code is not None:
            raise SystemExit(f"the broker ended: {process.last_words()} (log: {process.log})")
        return is_ready(settings)

    try:
        wait_until(is_up, READY_SECONDS, lambda: f"the broker is not ready: {process.last_words()}")
        yield process
    finally:
        process.stop()


def refuse_full_disk(settings: Settings) -> None:
    """SystemExit where the disk of the broker's folder, which need not be there yet, has no room for it."""
    try:
        check_disk(settings.kafka_dir, ROOM)
    except SetupError:
        raise SystemExit(_no_space(settings)) from None


def _no_space(settings: Settings) -> str:
    return f"No space left on the disk of {settings.kafka_dir}: free some space; nothing that was acknowledged is lost"


def main() -> None:
    """Become the broker."""
    settings = load_settings()
    refuse_taken_ports(settings)
    try:
        command = broker_command(settings)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SystemExit(_no_space(settings)) from None
    refuse_full_disk(settings)
    sys.stdout.flush()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
