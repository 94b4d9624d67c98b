"""The services alone: how fast they answer, how many streams they hold, how soon they are back, what overload does."""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from bench.live import until_ready
from bench.load import Answers
from bench.measures import Measure
from bench.place import Place, refuse_ended
from bench.probes import percentiles
from bench.rows import change, probe, publishing, write_posts
from bench.usage import usage_of
from contract.results import Token
from jobs.offsets import consumer_of
from producers.receipts import Receipt, lost
from runtime.processes import Process, wait_until

CORES = 2
NO_LIMITS = {"MSM_ADDRESS_RATE": "1000000", "MSM_ADDRESS_BURST": "1000000", "MSM_USER_RATE": "10000"}
"""One machine plays all clients here; the bound on requests in hand stays as it is."""
READS = 500
CHANGES, PROBES = 200, 10
"""A second."""
CROWDS = 2
WELL_SECONDS = 900


@dataclass(frozen=True)
class Serving:
    """How many posts and clients there are, and how long each measure takes."""

    posts: int
    clients: int
    seconds: float


def serving(place: Place, size: Serving) -> Iterable[Measure]:
    """Broker and website alone; the website has two cores, where the machine has more."""
    place.empty()
    write_posts(place.settings, size.posts)
    yield from _build(place, size)
    began = time.monotonic()
    with place.running("web", _two_cores(), **NO_LIMITS) as web:
        until_ready(place, web, seconds=WELL_SECONDS)
        how = f"with {size.posts:,} posts in its view, until /healthz says that all is well"
        yield Measure("feed.restart", "s", time.monotonic() - began, how, "lower", "floor.cpu")
        yield from _reads(place, size, web)
        yield from _streams(place, size, web)
        yield from _commands(place, size)


def _two_cores() -> tuple[str, ...]:
    """The first two that we may use; no choice where there are no more."""
    cores = sorted(os.sched_getaffinity(0))
    return ("taskset", "-c", ",".join(map(str, cores[:CORES]))) if len(cores) > CORES else ()


def _build(place: Place, size: Serving) -> Iterable[Measure]:
    began = time.monotonic()
    with place.running("web", _two_cores(), **NO_LIMITS) as web:
        until_ready(place, web, seconds=WELL_SECONDS)
        seconds = time.monotonic() - began
        how = f"{size.posts:,} posts, from the start of a website without a view until all is well"
        yield Measure("feed.build", "posts/s", size.posts / seconds, how, "higher")
        yield Measure("feed.memory", "MiB", usage_of(web.popen.pid).peak_bytes / 2**20, "peak RSS after that")


def _reads(place: Place, size: Serving, web: Process) -> Iterable[Measure]:
    most = _asked(place, "read", size.posts, size.seconds / 2, 32)
    how = "GET of a page of 20, or of a post, on 32 connections, one after the other"
    yield Measure("feed.most", "requests/s", most.rate(200), how, "higher")
    with _changing(place, size.posts):
        before, began = usage_of(web.popen.pid).cpu_seconds, time.monotonic()
        paced = _asked(place, "read", size.posts, size.seconds, 64, READS)
        busy = (usage_of(web.popen.pid).cpu_seconds - before) / (time.monotonic() - began)
    how = f"of the same at {READS} a second, from when each was due, while {CHANGES} posts a second change"
    yield from percentiles("feed.read", paced.of(200), how)
    yield Measure("feed.read.failed", "requests", len(paced.seconds) - len(paced.of(200)), how)
    yield Measure("feed.read.cores", "cores", busy, f"{how}, the start of who asks included")


def _streams(place: Place, size: Serving, web: Process) -> Iterable[Measure]:
    with ExitStack() as stack:
        crowds = [stack.enter_context(_crowd(place, size.clients // CROWDS, number)) for number in range(CROWDS)]
        before, began = usage_of(web.popen.pid).cpu_seconds, time.monotonic()
        with publishing(place.settings) as publisher:
            probes = probe(publisher, PROBES, size.seconds)
        time.sleep(2)  # what was sent last may be under way; what is later than this counts as lost
        busy = (usage_of(web.popen.pid).cpu_seconds - before) / (time.monotonic() - began)
        for process, _ in crowds:
            process.stop()
        said = [json.loads(log.read_text()) for _, log in crowds]
    held = size.clients // CROWDS * CROWDS
    seconds = [late for one in said for late in one["seconds"]]
    how = f"{PROBES} new posts a second to each of {held:,} clients, from the producer's call"
    yield from percentiles("feed.stream", seconds, how)
    yield Measure("feed.stream.undelivered", "events", probes * held - len(seconds), how)
    yield Measure("feed.stream.dropped", "clients", sum(one["lost"] for one in said), how)
    yield Measure("feed.stream.cores", "cores", busy, how)


def _commands(place: Place, size: Serving) -> Iterable[Measure]:
    most = _asked(place, "like", size.posts, size.seconds / 2, 64)
    capacity = most.rate(202)
    how = "PUT of a like on 64 connections, one after the other, each answered after the broker has it"
    yield Measure("commands.most", "requests/s", capacity, how, "higher")
    yield from percentiles("commands.most", most.of(202), how)
    offered = 3 * capacity
    flood = _asked(place, "like", size.posts, size.seconds, 4_000, offered)
    counts = Counter(flood.statuses)
    told = ", ".join(f"{status}: {many:,}" for status, many in sorted(counts.items()))
    reached = len(flood.seconds) / flood.span
    how = f"{offered:,.0f} likes a second due, three times what was possible, {reached:,.0f} reached; by status: {told}"
    yield from percentiles("overload.accepted", flood.of(202), how)
    if refused := flood.of(429, 503):
        yield from percentiles("overload.refused", refused, how)
    yield Measure("overload.accepted", "requests/s", flood.rate(202), how, "higher")
    yield Measure("overload.unanswered", "requests", len(flood.seconds) - sum(counts[s] for s in (202, 429, 503)), how)
    yield Measure("overload.lost", "facts", _lost(place, most.tokens + flood.tokens), "answered with 202, not in Kafka")


def _lost(place: Place, answered: list[str]) -> int:
    """How many of these tokens name a place in Kafka that has no record of their post."""
    tokens = map(Token.parse, answered)
    receipts = {Receipt(one.topic, one.partition, one.offset, crc32(one.post_id.encode())) for one in tokens}
    twice = len(answered) - len(receipts)
    return twice + len(lost(receipts, consumer_of(place.settings), lambda record: record.key))


def _asked(place: Place, kind: str, posts: int, seconds: float, connections: int, rate: float = 0) -> Answers:
    """What a process of clients was answered."""
    log = _fresh_log(place, f"asked-{kind}")
    options = {"kind": kind, "posts": posts, "seconds": seconds, "connections": connections, "rate": rate, "log": log}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with place.running_other("load", (sys.executable, "-m", "bench.load", *arguments)) as process:
        late = f"no end of {kind} (log: {process.log.name})"
        wait_until(lambda: process.exit_code is not None, 120 + 3 * seconds, lambda: late)
    if process.exit_code:
        refuse_ended(process)
    return Answers.read(log)


@contextmanager
def _crowd(place: Place, clients: int, number: int) -> Iterator[tuple[Process, Path]]:
    log = _fresh_log(place, f"crowd-{number}")
    command = (sys.executable, "-m", "bench.crowd", "--clients", str(clients), "--log", str(log))
    with place.running_other(f"crowd-{number}", command) as process:
        wait_until(log.with_suffix(".ready").exists, 120, process.last_words)
        yield process, log


@contextmanager
def _changing(place: Place, posts: int) -> Iterator[None]:
    """While the block runs, posts change."""
    is_over = threading.Event()
    with publishing(place.settings) as publisher:
        thread = threading.Thread(target=change, args=(publisher, CHANGES, posts, is_over))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _fresh_log(place: Place, name: str) -> Path:
    folder = place.settings.data_dir / "seen"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}-{time.monotonic_ns()}.json"
