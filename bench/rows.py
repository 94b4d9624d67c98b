"""Rows of posts_with_counts, written straight to their topic: what the feeds live on, without a job."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context

from bench.facts import CAPTION, WRITERS, post_id, quiet
from bench.measures import Measure
from bench.pace import paced
from conf.kafka import python_options
from conf.settings import Settings
from contract.facts import format_time
from contract.results import PostWithCounts
from contract.topics import POSTS_WITH_COUNTS
from producers.bulk import BulkWriter
from producers.publisher import Publisher, Record, kafka_producer

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def row(number: int, version: int, caption: str = CAPTION, prefix: str = "") -> Record:
    """A post as the counts job would publish it."""
    post = f"{prefix}{number}" if prefix else post_id(number)
    created = format_time(BEGAN + timedelta(seconds=number))
    said = PostWithCounts(
        post_id=post,
        user_id=f"author-{number}",
        image_url="/media/none.png",
        caption=caption,
        created_at=created,
        likes=version,
        comments=0,
        updated_at=created,
        version=version,
    )
    return Record(POSTS_WITH_COUNTS, post.encode(), said.model_dump_json().encode())


@contextmanager
def publishing(settings: Settings) -> Iterator[Publisher]:
    """A producer that may write rows."""
    quiet()
    publisher = Publisher(settings.acting_as(POSTS_WITH_COUNTS), topics=[POSTS_WITH_COUNTS])
    try:
        publisher.wait_until_ready(30)
        yield publisher
    finally:
        publisher.close()


def write_posts(settings: Settings, posts: int) -> None:
    """So many living posts, in several processes."""
    with ProcessPoolExecutor(WRITERS, get_context("spawn")) as pool:
        shares = [range(writer, posts, WRITERS) for writer in range(WRITERS)]
        list(pool.map(_write, [settings] * WRITERS, shares))


def _write(settings: Settings, numbers: Iterable[int]) -> None:
    with publishing(settings) as publisher, BulkWriter(publisher) as bulk:
        for number in numbers:
            bulk.write(row(number, 1))


def publisher_speed(settings: Settings, count: int = 50_000) -> Iterator[Measure]:
    """What our publisher takes over the library that it stands on, with the same options.

    In turns: the machine may be slower for a while.
    """
    records = [row(number, 1) for number in range(count)]
    options = python_options(settings.acting_as(POSTS_WITH_COUNTS))
    own, bare = [], []
    with publishing(settings) as publisher, closing(kafka_producer(options)) as producer:
        for _ in range(3):
            began = time.monotonic()
            with BulkWriter(publisher) as bulk:
                for record in records:
                    bulk.write(record)
            own.append(time.monotonic() - began)
            began = time.monotonic()
            sent = [producer.send(record.topic, record.value, record.key) for record in records]
            producer.flush()
            bare.append(time.monotonic() - began)
            if not all(one.succeeded() for one in sent):
                raise SystemExit("the broker did not take what kafka-python alone sent")
    how = f"{count:,} rows by one process, the best of three"
    alone = f"{how}, kafka-python alone with the same options"
    yield Measure("publisher.bare", "records/s", count / min(bare), alone, "higher")
    yield Measure("publisher.records", "records/s", count / min(own), how, "higher", "publisher.bare")


def change(publisher: Publisher, rate: float, posts: int, is_over: threading.Event) -> None:
    """Posts that change one after the other, so many a second, until it is over; for an hour at most."""
    for turn in paced(rate, 3_600):
        if is_over.is_set():
            return
        publisher.send(row(turn % posts, 2 + turn // posts))


def probe(publisher: Publisher, rate: float, seconds: float) -> int:
    """New posts whose caption is the moment at which they were sent (`time.monotonic()`); how many."""
    turn = -1
    for turn in paced(rate, seconds):
        publisher.acknowledged(publisher.send(row(turn, 1, repr(time.monotonic()), prefix="probe-")))
    return turn + 1
