"""Reads a topic and writes down when what came: .venv/bin/python -m bench.reader --help"""

import json
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from kafka import KafkaConsumer

from bench.probes import Mark, Seen, append
from conf.kafka import partitions_of
from conf.settings import load_settings
from contract.facts import PostLiked
from contract.results import SEEN_HEADER, read_seen
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from jobs.offsets import consumer_of, parsed

POLL_MS = 100

cli = typer.Typer(add_completion=False)


@cli.command()
def main(
    topic: Annotated[str, typer.Option(help="Topic.")],
    log: Annotated[Path, typer.Option(help="Where what came is written down, a line each.")],
) -> None:
    """Read what is committed, from now on until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer = _consumer(topic)
    readers = {POSTS_WITH_COUNTS: _rows, TRENDING_POSTS: _rankings, PostLiked.topic: _Likes().rows}
    with log.open("w") as lines:
        while not stop.is_set():
            polled = consumer.poll(timeout_ms=POLL_MS)
            at = time.monotonic()
            for batch in polled.values():
                append(lines, readers[topic](batch, at))
    consumer.close()


def _consumer(topic: str) -> KafkaConsumer:
    consumer = consumer_of(load_settings(), isolation_level="read_committed", check_crcs=False)
    consumer.assign(partitions_of(consumer, [topic]))
    consumer.seek_to_end()
    for place in consumer.assignment():
        consumer.position(place)  # from here on, and not from wherever the end is at the first poll
    return consumer


def _rows(batch: Iterable[Any], at: float) -> Iterable[Seen]:
    for record in batch:
        if record.key.startswith(b"probe-") and record.value:
            likes = json.loads(record.value)["likes"]
            yield Seen(record.key.decode(), likes, at, record.partition, record.offset)


def _rankings(batch: Iterable[Any], at: float) -> Iterable[Mark]:
    for record in batch:
        headers = dict(record.headers)
        yield Mark(at, parsed(read_seen(headers.get(SEEN_HEADER))))


class _Likes:
    """The probes themselves, counted as they come: what Kafka alone takes."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def rows(self, batch: Iterable[Any], at: float) -> Iterable[Seen]:
        for record in batch:
            if record.key.startswith(b"probe-"):
                post = record.key.decode()
                self._counts[post] = self._counts.get(post, 0) + 1
                yield Seen(post, self._counts[post], at, record.partition, record.offset)


if __name__ == "__main__":
    cli()
