"""Steady traffic against what runs, read at every place where a like can be seen."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from bench.place import Place, refuse_ended
from bench.probes import EVERY, Mark, Seen, Sent, Unmatched, read_lines
from jobs.offsets import parsed
from runtime.processes import Process, wait_until

T = TypeVar("T")
START_SECONDS = 180
LAST_SECONDS = 60
"""How long what was sent last may be under way."""


@dataclass(frozen=True)
class Pace:
    """So many facts a second; what is sent in the first `warm` seconds is not measured."""

    rate: int
    warm: float
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """What was sent: all the probes among it, and from when on they are measured."""

    pace: Pace
    sent: list[Sent]
    measured_from: float

    def is_measured(self, one: Sent) -> bool:
        return one.at >= self.measured_from

    @property
    def rate(self) -> float:
        """Facts a second, of what is measured: fewer than were asked for, where the machine has no time for more."""
        at = [one.at for one in self.sent if self.is_measured(one)]
        return (len(at) - 1) * EVERY / (max(at) - min(at))


@dataclass(frozen=True)
class Reading:
    """A process of ours that writes down what it sees."""

    log: Path
    process: Process | None = None

    def rows(self) -> list[Seen]:
        return read_lines(self.log, Seen)

    def marks(self) -> list[Mark]:
        return [replace(one, offsets=parsed(one.offsets)) for one in read_lines(self.log, Mark)]


@contextmanager
def reading(place: Place, *arguments: str) -> Iterator[Reading]:
    """`bench.reader` or another module with these arguments, once it sees what comes."""
    module, *rest = arguments
    name = "-".join([module, *(part for part in rest if not part.startswith("-"))]).replace("/", "_")[:80]
    log = place.settings.data_dir / "seen" / f"{name}-{time.monotonic_ns()}.jsonl"
    log.parent.mkdir(exist_ok=True)
    with place.running_other(name, (sys.executable, "-m", f"bench.{module}", *rest, "--log", str(log))) as process:
        wait_until(log.exists, START_SECONDS, process.last_words)
        yield Reading(log, process)
        refuse_ended(process)  # what it saw is not all that there was to see


def send(place: Place, pace: Pace, tag: str, watch: Sequence[AbstractContextManager[Any]] = ()) -> Traffic:
    """Traffic at the pace, until all of it is acknowledged; the watches look on once it is warm."""
    log = place.settings.data_dir / "seen" / f"sent-{tag}.jsonl"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    seconds = pace.warm + pace.seconds
    options = {"--rate": pace.rate, "--seconds": seconds, "--tag": tag, "--log": log}
    command = (sys.executable, "-m", "bench.traffic", *(str(part) for pair in options.items() for part in pair))
    with place.running_other(f"traffic-{tag}", command) as process:
        wait_until(lambda: log.exists() or process.exit_code is not None, START_SECONDS, process.last_words)
        _sleep(process, pace.warm)
        with ExitStack() as stack:
            for one in watch:
                stack.enter_context(one)
            _sleep(process, pace.seconds)
        try:
            process.popen.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            late = f"{START_SECONDS} s after the {seconds:.0f} s of {pace.rate:,} facts/s"
            raise SystemExit(f"{process.name} is still at work {late} (log: {process.log.name})") from None
    if process.exit_code:
        refuse_ended(process)
    sent = read_lines(log, Sent)
    return Traffic(pace, sent, min(one.at for one in sent) + pace.warm)


def _sleep(process: Process, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.exit_code is None:
        time.sleep(0.1)


def matched(match: Callable[[], T]) -> T:
    """What it gives as soon as all that was sent has been seen; Unmatched where that does not come to be."""
    deadline = time.monotonic() + LAST_SECONDS
    while True:
        try:
            return match()
        except Unmatched:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def until_ready(place: Place, *parts: Process, seconds: float = START_SECONDS) -> None:
    """Wait until the parts say that they are; SystemExit where one ends instead."""
    for part in parts:
        _until_one_is_ready(place, part, seconds)


def _until_one_is_ready(place: Place, part: Process, seconds: float) -> None:
    def is_ready() -> bool:
        refuse_ended(part)
        return place.is_ready(part.name)

    wait_until(is_ready, seconds, lambda: f"{part.name} is not ready (log: {part.log.name})")
