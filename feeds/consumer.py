"""Reads the result topics into a view, for ever: the only place here that knows kafka-python's consumer."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from conf.kafka import broker_listens, connected, python_options
from conf.settings import Settings
from contract.results import SEEN_HEADER
from feeds.metrics import AGE, AS_OF, CAUGHT_UP, LAG
from feeds.records import Record
from feeds.view import MustRebuildError, Offsets, View

log = structlog.get_logger()
Apply = Callable[[Sequence[Record], Offsets], None]

POLL_MS = 200
PACE_SECONDS = 0.02
"""Pause after a batch, so that a steady stream makes few transactions instead of one a record."""
LOOK_SECONDS = 1.0
BROKER_MS = 3_000
BATCH = 5_000
STUCK_SECONDS = 30
"""With records to read and none that comes: a client of kafka-python may fetch no more after its broker was killed."""
IN_STEP_SECONDS = 60
"""How often a view remembers that it was in step with its topics."""


class FeedConsumer:
    """A thread that hands every record to `apply`, from where the view's own offsets stand."""

    def __init__(self, settings: Settings, topics: Sequence[str], view: View, apply: Apply) -> None:
        self._bootstrap, self._topics, self._view, self._apply = settings.bootstrap, topics, view, apply
        self._options = python_options(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed {topics[0]}", daemon=True)
        self.caught_up = False
        self._must_rebuild = ""
        self._trouble: str | None = "it has not reached Kafka yet"
        self._to_go = 0
        self._goal: tuple[float, dict[TopicPartition, int]] | None = None  # where the topics ended, and when
        self._stands: dict[tuple[TopicPartition, int], float] = {}  # where more is to be read, and since when
        self._newest_ms: dict[TopicPartition, int] = {}
        self._in_step = 0.0
        self.as_of = 0.0
        """Unix time at which the view held all that the topics did, every partition of them."""
        for topic in topics:  # read when Prometheus asks: they hold while Kafka does not answer, too
            CAUGHT_UP.labels(topic).set_function(lambda: self.caught_up)
            AS_OF.labels(topic).set_function(lambda: self.as_of)

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

    def readiness(self) -> str | None:
        """None once the view was whole since it was opened or rebuilt, also while Kafka is away; else a sentence."""
        return None if self.caught_up else self.health()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._rebuild()
                self._consume()
            except (OffsetOutOfRangeError, LogTruncationError) as error:
                self._must_rebuild = f"the topic lost records: {error}"
            except MustRebuildError as error:
                self._must_rebuild = str(error)
            except Exception as error:
                # A thread that dies would leave a view that is silently old.
                self._say(f"{type(error).__name__}: {error}")
            self._stop.wait(LOOK_SECONDS)

    def _rebuild(self) -> None:
        """Where there is a reason to: until it is done, as with a full disk, it is tried again."""
        if self._must_rebuild:
            self.caught_up, self.as_of, self._newest_ms, self._goal = False, 0.0, {}, None
            self._view.rebuild(self._must_rebuild)
            self._must_rebuild = ""

    def _say(self, trouble: str) -> None:
        known, self._trouble = self._trouble, trouble
        if trouble != known:
            log.warning("feed consumer waits", topics=self._topics, reason=trouble)

    def _consume(self) -> None:
        if not broker_listens(self._bootstrap, 1):
            return self._say(f"Kafka at {self._bootstrap} does not answer")
        with closing(self._connect()) as consumer, closing(self._connect_admin()) as admin:
            looked = 0.0
            while not self._stop.is_set():
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._look(consumer, admin)
                    looked = time.monotonic()
                self._take(consumer.poll(timeout_ms=POLL_MS, max_records=BATCH))

    def _connect(self) -> KafkaConsumer:
        return connected(
            KafkaConsumer,
            **self._options,
            client_id="msm-feed",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # where reading starts is decided here, never guessed
            isolation_level="read_committed",
            metadata_max_age_ms=30_000,
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=BROKER_MS,
            fetch_max_wait_ms=POLL_MS,
        )

    def _connect_admin(self) -> KafkaAdminClient:
        return connected(
            KafkaAdminClient,
            **self._options,
            client_id="msm-feed",
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=BROKER_MS,
            request_timeout_ms=BROKER_MS,
        )

    def _partitions(self, admin: KafkaAdminClient) -> set[TopicPartition]:
        """Every partition of the topics; empty while one of them does not exist."""
        found = [topic for topic in admin.describe_topics(self._topics) if not topic["error_code"]]
        ids = {topic["name"]: str(topic["topic_id"]) for topic in found}
        known = self._view.topic_ids()
        if any(known.get(name, topic_id) != topic_id for name, topic_id in ids.items()):
            raise MustRebuildError("a topic was deleted and made again, so its offsets mean nothing there")
        self._view.remember_topics({name: ids[name] for name in ids.keys() - known.keys()})
        if len(found) < len(self._topics):
            return set()
        return {
            TopicPartition(topic["name"], partition["partition_index"])
            for topic in found
            for partition in topic["partitions"]
        }

    def _assign(self, consumer: KafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        """Take every partition from where the view stands."""
        first = consumer.beginning_offsets(partitions, timeout_ms=BROKER_MS)
        last = consumer.end_offsets(partitions, timeout_ms=BROKER_MS)
        offsets = self._view.offsets()
        for topic, number in offsets:
            place = TopicPartition(topic, number)
            if not first.get(place, 0) <= offsets[topic, number] <= last.get(place, -1):
                raise MustRebuildError(f"its place in {topic}, partition {number}, is not in the topic any more")
        consumer.assign(partitions)
        self._goal, self._stands = None, {}
        for place in partitions:
            consumer.seek(place, offsets.get((place.topic, place.partition), first[place]))

    def _take(self, polled: dict[TopicPartition, list]) -> None:  # type: ignore[type-arg]
        if not polled:
            return
        records = [_record(record) for batch in polled.values() for record in batch]
        offsets = {(place.topic, place.partition): batch[-1].offset + 1 for place, batch in polled.items() if batch}
        self._apply(records, offsets)
        self._newest_ms |= {place: batch[-1].timestamp for place, batch in polled.items() if batch}
        if self.caught_up:
            self._stop.wait(PACE_SECONDS)

    def _look(self, consumer: KafkaConsumer, admin: KafkaAdminClient) -> None:
        """See how far the topics go, whether the broker answers, and whether there are new partitions."""
        self._view.check()
        asked = time.time()
        try:
            partitions = sorted(self._partitions(admin))
            if not partitions:
                return self._say(f"Kafka has no topic {' or '.join(self._topics)} yet")
            if set(partitions) - consumer.assignment():
                self._assign(consumer, partitions)
            last = consumer.end_offsets(partitions, timeout_ms=BROKER_MS)
        except KafkaError as error:
            self._stands = {}
            return self._say(f"Kafka at {self._bootstrap} does not answer ({type(error).__name__})")
        self._view.check_in_step()  # only now: while Kafka is away, what the view has is better than nothing
        self._trouble = None
        positions = {place: consumer.position(place) for place in last}
        left = {place: max(0, end - positions[place]) for place, end in last.items()}
        for topic in self._topics:
            LAG.labels(topic).set(sum(count for place, count in left.items() if place.topic == topic))
            newest = [moment for place, moment in self._newest_ms.items() if place.topic == topic]
            if newest:
                AGE.labels(topic).set(asked - max(newest) / 1000)
        self._to_go = sum(left.values())
        self._refuse_to_be_stuck({place: positions[place] for place, count in left.items() if count})
        self._note_progress(positions, asked, last)
        if self._to_go:
            # One partition may be read further than another: all of them have what the one that is furthest behind has.
            held_ms = min(self._newest_ms.get(place, 0) for place, count in left.items() if count)
            self.as_of = min(asked, max(self.as_of, held_ms / 1000))  # the broker's clock may have been ahead

    def _refuse_to_be_stuck(self, unread: dict[TopicPartition, int]) -> None:
        """RuntimeError where nothing comes of a partition that has more: a new client begins where the view stands."""
        now = time.monotonic()
        self._stands = {stand: self._stands.get(stand, now) for stand in unread.items()}
        for (place, position), since in self._stands.items():
            if now - since > STUCK_SECONDS:
                raise RuntimeError(
                    f"Kafka sends nothing of {place.topic}, partition {place.partition}, from {position}"
                )

    def _note_progress(
        self, positions: dict[TopicPartition, int], asked: float, last: dict[TopicPartition, int]
    ) -> None:
        """Under a steady stream the end is never reached, where it was at an earlier look is."""
        now = (asked, last)
        self._goal = self._goal if self._goal and self._to_go else now
        moment, ends = self._goal
        if all(positions[place] >= end for place, end in ends.items()):
            self._goal, self.as_of = now, max(self.as_of, moment) if self._to_go else asked
            if asked - moment < IN_STEP_SECONDS:
                if not self.caught_up or time.monotonic() - self._in_step > IN_STEP_SECONDS:
                    self._view.touch()
                    self._in_step = time.monotonic()
                self.caught_up = True


def _record(raw) -> Record:  # type: ignore[no-untyped-def]
    seen = next((value for name, value in raw.headers if name == SEEN_HEADER), None)
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, seen)
