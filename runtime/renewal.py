"""Deletes what stands before an offset, file by file: Kafka removes whole files, and never the one it writes to."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType

from conf.settings import Settings
from contract.topics import FOREVER, TOPIC_BY_NAME
from jobs.offsets import Offsets, rows
from runtime.admin import admin_client
from runtime.processes import wait_until

ROLL_MS = 10_000
"""Older than this is what a partition writes to when the first record comes; while it lasts, one more file each."""
SWEEP_SECONDS = 120
SWEEP_INTERVAL, SWEEP_INTERVAL_SECONDS = "log.retention.check.interval.ms", 300
OWN = "DYNAMIC_TOPIC_CONFIG"
BEFORE_NEW_FILES = ("segment.ms", "cleanup.policy", "retention.ms")


@contextmanager
def new_files(settings: Settings, topics: Sequence[str]) -> Iterator[None]:
    """The next record of each partition begins a new file, and records of compacted topics may be deleted too.

    They are not compacted meanwhile, which joins old files with new ones: whoever deletes waits in here for the sweep.
    """
    with closing(admin_client(settings)) as admin:
        rolling = {"segment.ms": str(ROLL_MS), "cleanup.policy": "delete", "retention.ms": FOREVER}
        before = _own(admin, topics)
        try:
            _alter(admin, {topic: rolling for topic in topics})
            wait_until(lambda: _rolls(admin, topics), 60, lambda: "the brokers do not take the topics' settings")
            time.sleep(ROLL_MS / 1000)  # no file is younger now, so that each is old enough to be left
            yield
        finally:
            _alter(admin, before)


def _own(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, object]]:
    """What each topic has now, and goes back to: as registered, where an earlier run was killed in here."""
    there = {
        topic: TOPIC_BY_NAME[topic].settings if _is_rolling(own) else own for topic, own in _told(admin, topics).items()
    }
    return {
        topic: {name: own.get(name) or (AlterConfigOp.DELETE, None) for name in BEFORE_NEW_FILES}
        for topic, own in there.items()
    }


def _told(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings of each topic that are its own, not its broker's."""
    said = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics])["topic"]
    return {
        topic: {name: one["value"] for name, one in said[topic].items() if one["config_source"] == OWN}
        for topic in topics
    }


def _is_rolling(own: Mapping[str, str]) -> bool:
    return own.get("segment.ms") == str(ROLL_MS)


def _rolls(admin: KafkaAdminClient, topics: Sequence[str]) -> bool:
    """Whether a broker knows: the controller answers first."""
    return all(_is_rolling(own) for own in _told(admin, topics).values())


def _alter(admin: KafkaAdminClient, configs: Mapping[str, Mapping[str, object]]) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic, configs=config) for topic, config in configs.items()]
    admin.alter_configs(resources)


def delete_before(settings: Settings, offsets: Offsets) -> None:
    """Delete every record below these offsets; readers get none of them from now on."""
    places = {TopicPartition(topic, number): offset for topic, number, offset in rows(offsets)}
    with closing(admin_client(settings)) as admin:
        admin.delete_records(places)


def wait_until_swept(settings: Settings, offsets: Offsets) -> list[str]:
    """Wait until the embedded broker has removed the files; partitions that keep theirs, as no new one begins there."""
    kept = [
        f"{topic}-{number}"
        for topic, number, offset in rows(offsets)
        if offset and offset not in _bases(settings, f"{topic}-{number}")
    ]
    goal = {f"{topic}-{number}": offset for topic, parts in offsets.items() for number, offset in parts.items()}

    def left() -> list[str]:
        return [name for name, offset in goal.items() if name not in kept and _has_older(settings, name, offset)]

    wait_until(lambda: not left(), SWEEP_SECONDS, lambda: f"Kafka still keeps old files of {', '.join(left())}")
    return kept


def sweep_seconds(settings: Settings) -> float:
    """How long brokers whose files nobody here can see take at most to remove what was deleted."""
    with closing(admin_client(settings)) as admin:
        brokers = [
            ConfigResource(ConfigResourceType.BROKER, str(broker["broker_id"]))
            for broker in admin.describe_cluster()["brokers"]
        ]
        said = admin.describe_configs(brokers, config_filter="all")["broker"]
    told = [
        int(of_broker[SWEEP_INTERVAL]["value"]) / 1000 for of_broker in said.values() if SWEEP_INTERVAL in of_broker
    ]
    return max(told, default=SWEEP_INTERVAL_SECONDS) + SWEEP_SECONDS


def _has_older(settings: Settings, name: str, offset: int) -> bool:
    return any(base < offset for base in _bases(settings, name)) or any(_folder(settings, name).glob("*.deleted"))


def _bases(settings: Settings, name: str) -> list[int]:
    return [int(path.stem) for path in _folder(settings, name).glob("*.log")]


def _folder(settings: Settings, name: str) -> Path:
    return settings.kafka_dir / "log" / name
