"""Writes facts to Kafka. The only place that knows kafka-python's producer."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, SaslAuthenticationFailedError
from prometheus_client import Counter, Gauge, Histogram

from conf.kafka import broker_listens, connected, python_options
from conf.settings import Settings
from contract.facts import FACT_TOPICS, FUTURE_TOLERANCE_SECONDS, Fact, parse_time
from contract.results import Token

PUBLISHED = Counter("msm_facts_published", "Facts that the broker acknowledged", ["topic"])
REFUSED = Counter("msm_facts_refused", "Commands answered with 503: Kafka is away, silent, or of another time")
SECONDS = Histogram("msm_publish_seconds", "From a command to the broker's acknowledgement")
AHEAD = Gauge("msm_clock_ahead_seconds", "By how much the newest fact was dated after the broker had stored it")
APART_MAX_SECONDS = 10
"""Clocks that are kept by NTP differ by far less."""
COMPARE_SECONDS = 10
"""While nothing would count, one command in so many seconds is tried all the same: a clock may have been set right."""
TOLD_SECONDS = 60
"""Clocks are set right, and nobody may come to compare them: after that long nothing is known."""
LOOK_SECONDS = 5.0
"""While nobody gives a command, the broker is looked for so often."""

_log = structlog.get_logger()


class BrokerUnavailable(Exception):  # noqa: N818 - a state of the world, said as such
    """The fact was not sent, and will not be."""


class InDoubt(BrokerUnavailable):
    """The broker did not acknowledge in time: what was on the wire by then may be stored, now or a moment later."""


class ClockAhead(BrokerUnavailable):
    """The fact is dated so far after the broker's clock that it does not count, or would not if it were sent."""


class Record(NamedTuple):
    """A Kafka record as it is sent."""

    topic: str
    key: bytes | None
    value: bytes

    @classmethod
    def of(cls, fact: Fact) -> "Record":
        """The fact as JSON without nulls, under the key that the contract gives it."""
        return cls(fact.topic, fact.key.encode(), fact.model_dump_json(exclude_none=True).encode())


class Stored(Protocol):
    """Where the broker put a record."""

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int:
        """When, by the broker's clock, in milliseconds."""


class _Future(Protocol):
    """kafka-python's future of a record, as far as we use it."""

    is_done: bool

    def get(self, timeout: float | None = None) -> Stored: ...

    def add_callback(self, call: Callable[[Stored], None]) -> object: ...

    def add_errback(self, call: Callable[[Exception], None]) -> object: ...


class Delivery(NamedTuple):
    """A record on its way."""

    future: _Future
    producer: KafkaProducer

    @property
    def settled(self) -> bool:
        """Whether it is known to be stored, or to have failed."""
        return self.future.is_done


class Publisher:
    """An idempotent producer that outlives its broker.

    It connects in a thread of its own, and again whenever a fact was not acknowledged within
    `deadline_seconds`. A producer that missed the deadline is retired *before* that is told to the
    caller: what it still held is dropped, so that it cannot turn up minutes later. What the broker
    already had is in doubt, be it dead or asleep: send it again with the same `event_id`, and it counts once.
    """

    def __init__(
        self, settings: Settings, *, deadline_seconds: float = 10.0, topics: Iterable[str] = FACT_TOPICS
    ) -> None:
        self._bootstrap, self._deadline, self._topics = settings.bootstrap, deadline_seconds, tuple(topics)
        self._options = python_options(settings)
        self._away = f"the Kafka broker at {self._bootstrap} does not answer"
        if settings.secured_kafka:
            self._away += f", or does not let {self._options.get('sasl_plain_username', 'this service')} in"
        self._producer: KafkaProducer | None = None
        self._complaint = f"connecting to the Kafka broker at {self._bootstrap}"
        self._ahead, self._behind, self._compared_at = 0.0, 0.0, -math.inf
        self._missed_at = -math.inf
        self._ready, self._wanted, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._connector = threading.Thread(target=self._keep_connected, name="publisher", daemon=True)
        self._wanted.set()
        self._connector.start()

    def complaint(self) -> str | None:
        """None while facts can be published and the clocks agree, else why not."""
        if self._producer is None:
            return self._complaint
        if self._missed_at > self._compared_at:
            return f"{self._away}: none takes a connection"
        if max(self._ahead, self._behind) <= APART_MAX_SECONDS or time.monotonic() - self._compared_at > TOLD_SECONDS:
            return None
        return _two_clocks(self._ahead) if self._ahead > self._behind else _clock_behind(self._behind)

    def check(self) -> None:
        """BrokerUnavailable where a fact cannot be sent now, or would not count."""
        if self._producer is None:
            raise BrokerUnavailable(self._complaint)
        if self._ahead > FUTURE_TOLERANCE_SECONDS and time.monotonic() - self._compared_at < COMPARE_SECONDS:
            raise ClockAhead(_two_clocks(self._ahead))

    def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return once connected; BrokerUnavailable where that takes longer than `timeout` seconds, or after `close`."""
        ready = self._ready.wait(timeout)
        if self._closing.is_set():
            raise BrokerUnavailable("the publisher is closed")
        if not ready:
            raise BrokerUnavailable(self._complaint)

    def send(self, record: Record) -> Delivery:
        """Send without waiting; ask `acknowledged` for the outcome."""
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable(self._complaint)
        try:
            return Delivery(producer.send(record.topic, record.value, record.key), producer)
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error

    def acknowledged(self, delivery: Delivery) -> Stored:
        """Where the record is stored; BrokerUnavailable where it failed, or the deadline passed."""
        try:
            return delivery.future.get(self._deadline)
        except KafkaError as error:
            self._retire(delivery.producer)
            raise InDoubt(str(error)) from error

    async def publish(self, fact: Fact) -> Token:
        """Answer after the broker's acknowledgement; BrokerUnavailable where none came in time.

        ClockAhead where it came, and the fact does not count.
        """
        began = time.monotonic()
        try:
            with SECONDS.time():
                stored = await self._stored(Record.of(fact))
            self._compare_clocks(fact, stored, time.monotonic() - began)
        except BrokerUnavailable:
            REFUSED.inc()
            raise
        PUBLISHED.labels(fact.topic).inc()
        return Token(topic=fact.topic, partition=stored.partition, offset=stored.offset, post_id=fact.post_id)

    def close(self) -> None:
        """Deliver what was sent, within the deadline, and stop. A connection under way ends by itself."""
        with self._lock:
            self._closing.set()
            producer, self._producer = self._producer, None
        self._wanted.set()
        self._ready.set()  # who waits is told
        if producer is not None:
            _close(producer, self._deadline)

    async def _stored(self, record: Record) -> Stored:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Stored] = loop.create_future()
        # Through a thread only where it may block: there a command waits for its turn, and costs a fifth more.
        delivery = self.send(record) if self._knows(record.topic) else await asyncio.to_thread(self.send, record)
        delivery.future.add_callback(lambda stored: _settle(loop, answer, stored))
        delivery.future.add_errback(lambda error: _settle(loop, answer, error))
        await asyncio.wait({answer}, timeout=self._deadline)
        if answer.done() and answer.exception() is None:
            return answer.result()
        await asyncio.to_thread(self._retire, delivery.producer)  # settles the answer, unless it is
        try:
            return await answer
        except KafkaError as error:
            raise InDoubt(f"the Kafka broker did not acknowledge: {error}") from error

    def _compare_clocks(self, fact: Fact, stored: Stored, took: float) -> None:
        """By at least how much each is ahead of the other: the broker's look was between sending and answer."""
        self._ahead = parse_time(fact.occurred_at).timestamp() - stored.timestamp / 1_000
        self._behind = -self._ahead - took
        self._compared_at = time.monotonic()
        AHEAD.set(self._ahead)
        if self._ahead > FUTURE_TOLERANCE_SECONDS:
            raise ClockAhead(_two_clocks(self._ahead))

    def _knows(self, topic: str) -> bool:
        """Whether the topic's partitions need not be asked for, so that sending does not wait."""
        producer = self._producer
        # kafka-python's own partitions_for() asks and waits, which is just what must not happen here.
        return producer is None or producer._metadata.partitions_for_topic(topic) is not None

    def _retire(self, producer: KafkaProducer) -> None:
        with self._lock:
            if self._producer is producer:
                self._producer = None
                self._complaint = self._away
                self._ready.clear()
                self._wanted.set()
        _abort(producer)

    def _keep_connected(self) -> None:
        while not self._closing.is_set():
            if not self._wanted.wait(LOOK_SECONDS):
                self._look()
                continue
            self._wanted.clear()
            while self._producer is None and not self._closing.is_set():
                try:
                    self._connect()
                except Exception as error:
                    # A thread that dies would never connect again.
                    self._say(self._told(error))
                    self._closing.wait(0.5)

    def _look(self) -> None:
        """Without commands nobody would notice that the broker is away; with them it is known better."""
        is_idle = time.monotonic() - self._compared_at > LOOK_SECONDS
        is_missed = is_idle and not broker_listens(self._bootstrap)
        self._missed_at = time.monotonic() if is_missed else -math.inf

    def _say(self, complaint: str) -> None:
        known, self._complaint = self._complaint, complaint
        if complaint != known and not self._closing.is_set():
            _log.warning("publisher waits", reason=complaint)

    def _told(self, error: Exception) -> str:
        if isinstance(error, _NoTopicError):
            fix = "make up (local stack) or .venv/bin/msm topics (your cluster) makes it"
            return f"Kafka at {self._bootstrap} has no topic {error}: {fix}"
        is_away = isinstance(error, KafkaTimeoutError | KafkaConnectionError | SaslAuthenticationFailedError)
        return f"{self._away if is_away else f'cannot publish to Kafka at {self._bootstrap}'}: {error!r}"

    def _connect(self) -> None:
        producer = kafka_producer(self._options)
        try:
            _require(self._topics, producer)
            with self._lock:
                if not self._closing.is_set():
                    self._producer = producer
                    self._ready.set()
                    _log.info("connected to Kafka", bootstrap=self._bootstrap)
        finally:
            if self._producer is not producer:
                _close(producer, 1.0)


def _two_clocks(ahead: float) -> str:
    return (
        f"the clock of this machine is {ahead:,.0f} s ahead of the Kafka broker's: set right the one that is wrong; "
        f"what is dated more than {FUTURE_TOLERANCE_SECONDS} s ahead does not count"
    )


def _clock_behind(behind: float) -> str:
    return (
        f"the clock of this machine is {behind:,.0f} s behind the Kafka broker's: set right the one that is wrong; "
        "what is taken back here may be dated before what it takes back, and then changes nothing"
    )


def kafka_producer(options: Mapping[str, Any]) -> KafkaProducer:
    """kafka-python's producer with these options, and those of ours."""
    return connected(
        KafkaProducer,
        **options,
        # Outright: a setting that conflicts then raises instead of turning idempotence off.
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=2,
        batch_size=64 * 1024,
        bootstrap_timeout_ms=2_000,
        max_block_ms=3_000,
        reconnect_backoff_max_ms=1_000,
        metrics_enabled=False,
    )


class _NoTopicError(Exception):
    """Kafka answers, and does not have these topics."""


def _require(topics: Iterable[str], producer: KafkaProducer) -> None:
    """_NoTopicError with those that are missing; KafkaError where that cannot be told, for want of rights or time."""
    missing = [topic for topic in topics if not _is_there(producer, topic)]
    if missing:
        raise _NoTopicError(", ".join(missing))


def _is_there(producer: KafkaProducer, topic: str) -> bool:
    asked = time.monotonic() * 1_000
    try:
        return bool(producer.partitions_for(topic))
    except KafkaTimeoutError:
        # kafka-python says the same of a broker that is slow and of one that answered without the topic.
        if producer._metadata._last_successful_refresh_ms < asked:
            raise
        return False


def _settle(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Stored], result: Stored | Exception) -> None:
    def settle() -> None:
        if answer.done():
            return
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    loop.call_soon_threadsafe(settle)


def _abort(producer: KafkaProducer) -> None:
    """Stop the producer at once; whatever it holds fails, and none of it is sent any more."""
    # kafka-python's own close() flushes first, which is just what must not happen here.
    producer._sender.force_close()
    producer._sender.join(timeout=10)


def _close(producer: KafkaProducer, timeout: float) -> None:
    try:
        producer.close(timeout=timeout)
    except KafkaError:
        _abort(producer)
