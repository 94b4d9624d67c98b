"""Reads the result topics into a view, for ever: the only place here that knows kafka-python's consumer."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from contract.results import SEEN_HEADER
from feeds.metrics import AGE, LAG
from feeds.records import Record
from feeds.view import DamagedError, Offsets, View

log = structlog.get_logger()
Apply = Callable[[Sequence[Record], Offsets], None]

POLL_MS = 200
LOOK_SECONDS = 1.0
BROKER_MS = 3_000
BATCH = 5_000
IN_STEP_SECONDS = 60
"""How often a view remembers that it was in step with its topics."""


class FeedConsumer:
    """A thread that hands every record to `apply`, from where the view's own offsets stand."""

    def __init__(self, bootstrap: str, topics: Sequence[str], view: View, apply: Apply) -> None:
        self._bootstrap, self._topics, self._view, self._apply = bootstrap, topics, view, apply
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed {topics[0]}", daemon=True)
        self.caught_up = False
        self._trouble: str | None = "it has not reached Kafka yet"
        self._to_go = 0
        self._newest_ms = 0
        self._in_step = 0.0
        self.as_of = 0.0
        """Unix time at which the view held all that the topics did."""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop after the batch in hand."""
        self._stop.set()
        self._thread.join()

    def health(self) -> str | None:
        """None when the view is in step with a broker that answers, else a sentence."""
        what = " and ".join(self._topics)
        if self._trouble:
            return f"the view of {what} is not kept up to date: {self._trouble}"
        if not self.caught_up:
            return f"the view of {what} is being built: {self._to_go:,} records to go"
        return None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._consume()
            except (OffsetOutOfRangeError, LogTruncationError) as error:
                self._rebuild(f"the topic lost records: {error}")
            except DamagedError as error:
                self._rebuild(str(error))
            except Exception as error:
                # A thread that dies would leave a view that is silently old.
                self._say(f"{type(error).__name__}: {error}")
            self._stop.wait(LOOK_SECONDS)

    def _rebuild(self, reason: str) -> None:
        self.caught_up = False
        self._view.rebuild(reason)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("feed consumer waits", topics=self._topics, reason=trouble)
        self._trouble = trouble

    def _consume(self) -> None:
        self._view.check()
        if not _listens(self._bootstrap):
            return self._say(f"Kafka at {self._bootstrap} does not answer")
        with closing(self._connect()) as consumer:
            self._compare_topics()
            while not self._stop.is_set() and not self._assign(consumer):
                self._say(f"Kafka has no topic {' or '.join(self._topics)} yet")
                self._stop.wait(LOOK_SECONDS)
            looked = 0.0
            while not self._stop.is_set():
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._look(consumer)
                    looked = time.monotonic()
                self._take(consumer.poll(timeout_ms=POLL_MS, max_records=BATCH))

    def _connect(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._bootstrap.split(","),
            client_id="msm-feed",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # where reading starts is decided here, never guessed
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            metadata_max_age_ms=30_000,
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=BROKER_MS,
            fetch_max_wait_ms=POLL_MS,
        )

    def _compare_topics(self) -> None:
        """Rebuild the view where a topic was deleted and made again: its offsets mean nothing there."""
        with closing(KafkaAdminClient(bootstrap_servers=self._bootstrap.split(","))) as admin:
            described = admin.describe_topics(self._topics)
        ids = {topic["name"]: str(topic["topic_id"]) for topic in described if not topic["error_code"]}
        known = self._view.topic_ids()
        if any(known.get(name, topic_id) != topic_id for name, topic_id in ids.items()):
            self._rebuild("a topic was made anew")
        self._view.remember_topics(ids)

    def _partitions(self, consumer: KafkaConsumer) -> set[TopicPartition]:
        """Every partition of the topics; empty while one of them does not exist."""
        found = {topic: consumer.partitions_for_topic(topic) for topic in self._topics}
        if not all(found.values()):
            return set()
        return {TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers}

    def _assign(self, consumer: KafkaConsumer) -> bool:
        """Take every partition from where the view stands; False while a topic is missing."""
        partitions = sorted(self._partitions(consumer))
        if not partitions:
            return False
        first = consumer.beginning_offsets(partitions, timeout_ms=BROKER_MS)
        last = consumer.end_offsets(partitions, timeout_ms=BROKER_MS)
        offsets = self._view.offsets()
        for topic, number in offsets:
            place = TopicPartition(topic, number)
            if not first.get(place, 0) <= offsets[topic, number] <= last.get(place, -1):
                self._rebuild(f"its place in {topic}, partition {number}, is not in the topic any more")
                offsets = {}
                break
        consumer.assign(partitions)
        for place in partitions:
            consumer.seek(place, offsets.get((place.topic, place.partition), first[place]))
        return True

    def _take(self, polled: dict[TopicPartition, list]) -> None:  # type: ignore[type-arg]
        if not polled:
            return
        records = [_record(record) for batch in polled.values() for record in batch]
        offsets = {(place.topic, place.partition): batch[-1].offset + 1 for place, batch in polled.items() if batch}
        self._apply(records, offsets)
        self._newest_ms = max(record.arrived_ms for record in records)
        if not self.caught_up:
            self.as_of = self._newest_ms / 1000

    def _look(self, consumer: KafkaConsumer) -> None:
        """See how far the topics go, whether the broker answers, and whether there are new partitions."""
        self._view.check()
        asked = time.time()
        try:
            if self._partitions(consumer) - consumer.assignment():
                self._assign(consumer)
            last = consumer.end_offsets(sorted(consumer.assignment()), timeout_ms=BROKER_MS)
        except KafkaError as error:
            return self._say(f"Kafka at {self._bootstrap} does not answer ({type(error).__name__})")
        self._trouble = None
        left = {place: max(0, end - consumer.position(place)) for place, end in last.items()}
        for topic in self._topics:
            LAG.labels(topic).set(sum(count for place, count in left.items() if place.topic == topic))
            if self._newest_ms:
                AGE.labels(topic).set(asked - self._newest_ms / 1000)
        self._to_go = sum(left.values())
        self.caught_up = self.caught_up or self._to_go == 0
        if self._to_go == 0:
            self.as_of = asked
            self._remember_in_step()
        else:
            self.as_of = max(self.as_of, self._newest_ms / 1000)

    def _remember_in_step(self) -> None:
        if time.monotonic() - self._in_step > IN_STEP_SECONDS:
            self._view.touch()
            self._in_step = time.monotonic()


def _listens(bootstrap: str) -> bool:
    """Whether any of the brokers takes connections: a client that finds none leaves its thread behind."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
            return True
        except OSError:
            continue
    return False


def _record(raw) -> Record:  # type: ignore[no-untyped-def]
    seen = next((value for name, value in raw.headers if name == SEEN_HEADER), None)
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, seen, raw.timestamp)
