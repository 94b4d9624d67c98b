"""Facts that arrive as they should not."""

import random
from itertools import chain

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from conf.settings import Settings
from contract.facts import FACT_TOPICS

STRETCH = 500
"""Records of each partition that are sent again."""


def send_again(settings: Settings, rng: random.Random) -> int:
    """The last stretch of every partition once more, shuffled over all of them; how many the broker acknowledged."""
    records = _last_stretch(settings)
    rng.shuffle(records)
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=5)
    try:
        sent = [producer.send(topic, key=key, value=value) for topic, key, value in records]
        for future in sent:
            future.get(timeout=60)
    finally:
        producer.close()
    return len(sent)


def _last_stretch(settings: Settings) -> list[tuple[str, bytes | None, bytes | None]]:
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap, enable_auto_commit=False)
    try:
        places = [TopicPartition(topic, n) for topic in FACT_TOPICS for n in consumer.partitions_for_topic(topic)]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        for place, end in ends.items():
            consumer.seek(place, max(0, end - STRETCH))
        found = []
        while any(consumer.position(place) < ends[place] for place in places):
            for record in chain.from_iterable(consumer.poll(timeout_ms=200).values()):
                found.append((record.topic, record.key, record.value))
        return found
    finally:
        consumer.close()
