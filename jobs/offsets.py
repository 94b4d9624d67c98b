"""Where topics begin and end, by partition."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TypeVar

from kafka import KafkaConsumer, TopicPartition

from conf.kafka import python_security
from conf.settings import Settings
from contract.principals import ADMIN

Offsets = dict[str, dict[str, int]]
"""{topic: {partition: offset}}, as Spark writes it."""
Partition = TypeVar("Partition", str, int)


def beginnings(settings: Settings, topics: Sequence[str]) -> Offsets:
    """The first offset that is still there."""
    with closing(consumer_of(settings)) as consumer:
        return _by_topic(consumer.beginning_offsets(_partitions(consumer, topics)))


def ends(settings: Settings, topics: Sequence[str]) -> Offsets:
    """The offset that the next record gets."""
    with closing(consumer_of(settings)) as consumer:
        return _by_topic(consumer.end_offsets(_partitions(consumer, topics)))


def since(settings: Settings, topics: Sequence[str], moment_ms: int) -> Offsets:
    """The first offset that arrived at the moment or later; the end where none did."""
    with closing(consumer_of(settings)) as consumer:
        partitions = _partitions(consumer, topics)
        found = consumer.offsets_for_times(dict.fromkeys(partitions, moment_ms))
        last = consumer.end_offsets(partitions)
        return _by_topic({place: found[place].offset if found[place] else last[place] for place in partitions})


def total(offsets: Offsets) -> int:
    return sum(sum(parts.values()) for parts in offsets.values())


def lacking(there: Mapping[str, Mapping[Partition, int]], goal: Mapping[str, Mapping[Partition, int]]) -> int:
    """How many records one is behind the other, over all partitions."""
    return sum(
        max(0, offset - there.get(topic, {}).get(partition, 0))
        for topic, parts in goal.items()
        for partition, offset in parts.items()
    )


def reached(there: Offsets, goal: Offsets) -> bool:
    """Whether one is at least where the other is, in each partition."""
    return not lacking(there, goal)


def consumer_of(settings: Settings) -> KafkaConsumer:
    """A consumer without a group, as the principal that the settings act as; else as the administrator."""
    security = python_security(settings if settings.principal else settings.acting_as(ADMIN))
    return KafkaConsumer(bootstrap_servers=settings.bootstrap.split(","), enable_auto_commit=False, **security)


def _partitions(consumer: KafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """Of the topics that are there."""
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]


def _by_topic(found: dict[TopicPartition, int]) -> Offsets:
    offsets: Offsets = {}
    for place, offset in found.items():
        offsets.setdefault(place.topic, {})[str(place.partition)] = offset
    return offsets
