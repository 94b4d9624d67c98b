"""Facts that arrive as they should not."""

import random
from contextlib import closing

from kafka import KafkaProducer

from conf.kafka import partitions_of, python_options, records_of
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from jobs.offsets import consumer_of

STRETCH = 500
"""Records of each partition that are sent again."""


def send_again(settings: Settings, rng: random.Random) -> int:
    """The last stretch of every partition once more, shuffled over all of them; how many the broker acknowledged."""
    records = _last_stretch(settings)
    rng.shuffle(records)
    producer = KafkaProducer(**python_options(settings.acting_as("simulator")), acks="all", linger_ms=5)
    try:
        sent = [producer.send(topic, key=key, value=value) for topic, key, value in records]
        for future in sent:
            future.get(timeout=60)
    finally:
        producer.close()
    return len(sent)


def _last_stretch(settings: Settings) -> list[tuple[str, bytes | None, bytes | None]]:
    with closing(consumer_of(settings)) as consumer:
        found = records_of(consumer, partitions_of(consumer, FACT_TOPICS), STRETCH)
        return [(record.topic, record.key, record.value) for record in found]
