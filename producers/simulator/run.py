"""Writes a history to Kafka: at its own pace, or as fast as it goes."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from producers.bulk import BulkWriter
from producers.publisher import Record

REPORT_SECONDS = 10.0
_log = structlog.get_logger()


def paced(moments: Iterable[datetime], unpaced: int) -> Iterator[datetime]:
    """Each moment when it has come; the first `unpaced` at once. A late one is not waited for."""
    for number, moment in enumerate(moments):
        if number >= unpaced:
            early = (moment - datetime.now(timezone.utc)).total_seconds()
            if early > 0:  # not even a sleep(0): it hands the interpreter to the producer's thread, for milliseconds
                time.sleep(early)
        yield moment


def write(records: Iterable[Record], writer: BulkWriter, total: int | None, console: Console) -> int:
    """Write them all and answer how many the broker acknowledged; Ctrl-C ends it cleanly."""
    report = _bar(total, console) if console.is_terminal else _log_lines(total)
    written: Counter[str] = Counter()
    try:
        for record in records:
            writer.write(record)
            written[record.topic] += 1
            report(written, False)
        writer.flush()
    except KeyboardInterrupt:
        writer.finish()
    report(written, True)
    return writer.acknowledged


Report = Callable[[Counter[str], bool], None]


def _bar(total: int | None, console: Console) -> Report:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[rate]}"), console=console)
    task = progress.add_task("facts", total=total, rate="")
    progress.start()
    rate = _rate()
    counted = itertools.count(1)

    def report(written: Counter[str], done: bool) -> None:
        if next(counted) % 50 == 0 or done or not total:
            topics = "  ".join(f"{topic} {count:,}" for topic, count in sorted(written.items()))
            text = f"{rate(written.total()):,.0f}/s  {topics}"
            progress.update(task, completed=written.total(), rate=text)
        if done:
            progress.stop()

    return report


def _log_lines(total: int | None) -> Report:
    rate, told = _rate(), time.monotonic()

    def report(written: Counter[str], done: bool) -> None:
        nonlocal told
        if not done and time.monotonic() - told < REPORT_SECONDS:
            return
        told = time.monotonic()
        facts = written.total()
        _log.info("simulated", facts=facts, of=total, a_second=round(rate(facts), 1), **written)

    return report


def _rate() -> Callable[[int], float]:
    """Facts a second since about two seconds ago."""
    since, then, rate = time.monotonic(), 0, 0.0

    def measured(count: int) -> float:
        nonlocal since, then, rate
        seconds = time.monotonic() - since
        if seconds >= 2 or not rate:
            rate = (count - then) / max(seconds, 1e-3)
        if seconds >= 2:
            since, then = time.monotonic(), count
        return rate

    return measured
