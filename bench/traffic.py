"""Steady traffic, one fact in ten a probe: .venv/bin/python -m bench.traffic --help"""

import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from bench.facts import History, Story, created
from bench.pace import paced
from bench.probes import EVERY, Sent, append
from conf.settings import load_settings
from contract.facts import PostLiked, format_time, new_event_id
from producers.publisher import Delivery, Publisher, Record

PROBES = 20
"""Posts that are probed: enough for every partition."""

cli = typer.Typer(add_completion=False)


@cli.command()
def main(
    rate: Annotated[float, typer.Option(min=1, help="Facts a second.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long.")],
    tag: Annotated[str, typer.Option(help="In the ids of the probe posts.")],
    log: Annotated[Path, typer.Option(help="Made when the first fact is sent; at the end it gets the probes.")],
) -> None:
    """Write so many facts a second, fewer where the time does not suffice; every one must be acknowledged."""
    publisher = Publisher(load_settings().acting_as("simulator"))
    publisher.wait_until_ready(30)
    try:
        for number in range(PROBES):
            publisher.acknowledged(publisher.send(Record.of(created(probe_post(tag, number), _now()))))
        with log.open("w") as lines:
            append(lines, _write(publisher, rate, seconds, tag))
    finally:
        publisher.close()


def probe_post(tag: str, number: int) -> str:
    """The id of a probe post."""
    return f"probe-{tag}-{number % PROBES}"


def _write(publisher: Publisher, rate: float, seconds: float, tag: str) -> list[Sent]:
    story = Story(History(0, seed=round(time.time())))
    under_way: deque[tuple[Delivery, int, float]] = deque()
    sent: list[Sent] = []
    probes = 0
    for turn in paced(rate, seconds):
        is_probe = turn % EVERY == 0
        record = _like(probe_post(tag, probes), probes) if is_probe else story.next(_now())
        at = time.monotonic()
        under_way.append((publisher.send(record), probes if is_probe else -1, at))
        probes += is_probe
        while under_way[0][0].settled and len(under_way) > 1:
            sent += _stored(publisher, tag, *under_way.popleft())
    while under_way:
        sent += _stored(publisher, tag, *under_way.popleft())
    return sent


def _stored(publisher: Publisher, tag: str, delivery: Delivery, probe: int, at: float) -> Iterator[Sent]:
    stored = publisher.acknowledged(delivery)
    if probe >= 0:
        yield Sent(probe_post(tag, probe), probe // PROBES + 1, at, PostLiked.topic, stored.partition, stored.offset)


def _like(post: str, number: int) -> Record:
    return Record.of(PostLiked(event_id=new_event_id(), occurred_at=_now(), user_id=f"probe-{number}", post_id=post))


def _now() -> str:
    return format_time(datetime.now(timezone.utc))


if __name__ == "__main__":
    cli()
