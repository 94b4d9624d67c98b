"""Where topics begin and end, by partition."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from conf.kafka import connected, partitions_of, python_options
from conf.settings import Settings
from contract.principals import ADMIN

Offsets = dict[str, dict[int, int]]
"""{topic: {partition: next offset}}; as JSON it is what Spark writes and reads, which has partitions as text."""


def parsed(said: dict[str, Any]) -> Offsets:
    """Of such JSON."""
    return {topic: {int(number): offset for number, offset in parts.items()} for topic, parts in said.items()}


def beginnings(settings: Settings, topics: Sequence[str]) -> Offsets:
    """The first offset that is still there."""
    with closing(consumer_of(settings)) as consumer:
        return _by_topic(consumer.beginning_offsets(partitions_of(consumer, topics)))


def ends(settings: Settings, topics: Sequence[str]) -> Offsets:
    """The offset that the next record gets."""
    with closing(consumer_of(settings)) as consumer:
        return _by_topic(consumer.end_offsets(partitions_of(consumer, topics)))


def since(settings: Settings, topics: Sequence[str], moment_ms: int) -> Offsets:
    """The first offset that arrived at the moment or later; the end where none did."""
    with closing(consumer_of(settings)) as consumer:
        there = partitions_of(consumer, topics)
        found = consumer.offsets_for_times(dict.fromkeys(there, moment_ms))
        last = consumer.end_offsets(there)
        return _by_topic({place: found[place].offset if found[place] else last[place] for place in there})


def partitions(settings: Settings, topics: Sequence[str]) -> int:
    """How many the topics have together."""
    with closing(consumer_of(settings)) as consumer:
        return len(partitions_of(consumer, topics))


def topic_ids(settings: Settings, topics: Sequence[str]) -> dict[str, str]:
    """What Kafka calls each topic that is there: one that is deleted and made again gets another id.

    Brokers before 2.8 have no ids.
    """
    with closing(connected(KafkaAdminClient, **_connection(settings))) as admin:
        found = admin.describe_topics(topics)
    ids = {topic["name"]: topic.get("topic_id") for topic in found if not topic["error_code"]}
    return {name: str(topic_id) for name, topic_id in ids.items() if topic_id}


def total(offsets: Offsets) -> int:
    return sum(sum(parts.values()) for parts in offsets.values())


def rows(offsets: Offsets) -> list[tuple[str, int, int]]:
    """(topic, partition, next offset), for a frame."""
    return [(topic, number, offset) for topic, parts in offsets.items() for number, offset in parts.items()]


def lacking(there: Offsets, goal: Offsets) -> int:
    """How many records one is behind the other, over all partitions."""
    return sum(max(0, offset - there.get(topic, {}).get(partition, 0)) for topic, partition, offset in rows(goal))


def reached(there: Offsets, goal: Offsets) -> bool:
    """Whether one is at least where the other is, in each partition."""
    return not lacking(there, goal)


def consumer_of(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer without a group, as the principal that the settings act as; else as the administrator."""
    return connected(
        KafkaConsumer,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # what retention took while one reads is gone, not all that follows
        **_connection(settings),
        **options,
    )


def _connection(settings: Settings) -> dict[str, Any]:
    return python_options(settings if settings.principal else settings.acting_as(ADMIN))


def _by_topic(found: dict[TopicPartition, int]) -> Offsets:
    offsets: Offsets = {}
    for place, offset in found.items():
        offsets.setdefault(place.topic, {})[place.partition] = offset
    return offsets
