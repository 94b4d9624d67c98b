"""Makes the fixture `counts-checkpoint-0.1.tar.gz`: what the counts job of a version leaves behind.

    PYTHONPATH=. .venv/bin/python -m tests.rebuild.earlier_checkpoint 0.1

Run it at the version that is to be kept, before its shape changes; the test then reads it with the code of today.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

from kafka import KafkaProducer

from conf.settings import Settings
from contract.facts import FACT_BY_TYPE
from jobs import posts_with_counts
from tests.brokers import running_broker
from tests.spark_session import new_session

FIXTURES = Path(__file__).with_name("fixtures")
PARTITIONS = 2


def facts_before() -> list[dict[str, str]]:
    """What had been counted when the checkpoint was written: posts, likes that flap, comments, deletions."""
    return [_fact(number) for number in range(120)]


def facts_after() -> list[dict[str, str]]:
    """What came later: some of it again, some of it older than what was counted."""
    return [*(_fact(number) for number in range(100, 170)), *facts_before()[:30]]


def _fact(number: int) -> dict[str, str]:
    kinds = ("post_created", "post_liked", "post_liked", "post_unliked", "comment_added", "comment_deleted")
    event_type = kinds[number % 6] if number < 60 else kinds[1 + number % 5]
    if number in (59, 119, 169):
        event_type = "post_deleted"
    post = number % 7 if event_type != "post_created" else number // 6
    user = "ada" if event_type in ("post_created", "post_deleted") else f"u{number % 4}"
    fact = {"event_id": f"e{number:04}", "event_type": event_type, "user_id": user, "post_id": f"p{post}"}
    fact["occurred_at"] = f"2026-11-20T12:{number * 7 % 60:02}:{number % 60:02}.000Z"
    if event_type == "post_created":
        fact |= {"image_url": f"/media/{number}.jpg", "caption": f"caption {number}"}
    if event_type.startswith("comment"):
        fact["comment_id"] = f"c{number % 3}"
    if event_type == "comment_added":
        fact["text"] = "nice"
    return fact


def write(settings: Settings, facts: list[dict[str, str]]) -> None:
    """The facts in a partition that follows from the post alone, so that offsets come out the same each time."""
    with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        for fact in facts:
            topic = FACT_BY_TYPE[fact["event_type"]].topic
            value = json.dumps(fact).encode()
            producer.send(topic, key=fact["post_id"].encode(), value=value, partition=int(fact["post_id"][1:]) % 4)
        producer.flush()


def main(version: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_broker(Path(folder), shuffle_partitions=PARTITIONS) as settings,
    ):
        spark = new_session(PARTITIONS, str(settings.data_dir / "warehouse"))
        facts = facts_before()
        for batch in (facts[:50], facts[50:90], facts[90:]):
            write(settings, batch)
            query = posts_with_counts.start(spark, settings)[0]
            query.processAllAvailable()
            query.stop()
        spark.stop()
        with tarfile.open(FIXTURES / f"counts-checkpoint-{version}.tar.gz", "w:gz") as tar:
            tar.add(settings.checkpoint_dir / "posts_with_counts", "posts_with_counts")


if __name__ == "__main__":
    main(sys.argv[1])
