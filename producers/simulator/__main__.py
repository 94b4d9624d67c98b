"""`python -m producers.simulator`: traffic for the demo, or a million facts for a backfill."""

import signal
import sys
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from conf.settings import Settings, load_settings
from conf.store import media
from producers.bulk import BulkWriter, Tell, nobody
from producers.publisher import BrokerUnavailable, Publisher
from producers.receipts import Receipts
from producers.simulator.arrivals import arrivals, spread
from producers.simulator.history import Mix, history
from producers.simulator.pictures import paint_pictures
from producers.simulator.run import paced, write

OPENING_POSTS = 30
SAY_AFTER_SECONDS = 10.0
"""So long is a broker waited for in silence."""

cli = typer.Typer(add_completion=False)


@cli.command()
def simulate(
    rate: Annotated[float, typer.Option(min=0, help="Facts a second; 0: as fast as it goes.")] = 20.0,
    facts: Annotated[int, typer.Option(min=0, help="How many; 0: until stopped.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 1,
    users: Annotated[int, typer.Option(min=1, help="How many users there are.")] = 2_000,
    posts: Annotated[int, typer.Option(min=0, help="About how many of the facts are posts; 0: 1.5 %.")] = 0,
    since: Annotated[float, typer.Option(min=0, help="Spread the dates over so many past hours.")] = 0.0,
    receipts: Annotated[Path | None, typer.Option(help="A file that gets each record that was acknowledged.")] = None,
) -> None:
    """Write what a lively small social network does, until stopped or for so many facts."""
    if (rate == 0 or since) and not facts:
        raise typer.BadParameter("without a rate, or with --since, say how many with --facts")
    settings = load_settings()
    with Receipts(receipts) if receipts else nullcontext() as kept:
        tell = kept.keep if kept else nobody
        run(settings, rate=rate, facts=facts, seed=seed, users=users, posts=posts, since_hours=since, tell=tell)


def run(
    settings: Settings,
    *,
    rate: float = 20.0,
    facts: int = 0,
    seed: int = 1,
    users: int = 2_000,
    posts: int = 0,
    since_hours: float = 0.0,
    tell: Tell = nobody,
) -> int:
    """Simulate; answers how many records the broker acknowledged. SystemExit where it was stopped before it had all."""
    now = datetime.now(timezone.utc)
    if rate and not since_hours:
        moments = paced(arrivals(seed, now, rate), unpaced=OPENING_POSTS)
    else:
        moments = spread(now - timedelta(hours=since_hours), now, facts)
    records = history(
        seed,
        islice(moments, facts or None),
        users=users,
        opening_posts=min(OPENING_POSTS, posts or OPENING_POSTS),
        images=paint_pictures(media(settings)),
        mix=_mix(posts, facts),
    )
    publisher = Publisher(settings.acting_as("simulator"))
    writer = BulkWriter(publisher, tell=tell)
    try:
        _say_if_away(publisher)
        acknowledged = write(records, writer, facts or None, Console(stderr=True))
    finally:
        publisher.close()
    if left := writer.written - writer.acknowledged:
        raise SystemExit(
            f"stopped: of {writer.written:,} facts {left:,} were not acknowledged, and may be stored or not"
        )
    return acknowledged


def _say_if_away(publisher: Publisher) -> None:
    """Whoever writes waits for the broker, however long: say for what."""
    try:
        publisher.wait_until_ready(SAY_AFTER_SECONDS)
    except BrokerUnavailable as error:
        hint = "make up starts a stack, MSM_KAFKA_BOOTSTRAP names another"
        print(f"{error}; waiting. {hint}", file=sys.stderr, flush=True)


def _mix(posts: int, facts: int) -> Mix:
    """The usual mix, with as many posts as were asked for."""
    if not posts or not facts:
        return Mix()
    others = 100 - Mix.create_post
    share = min(posts / facts, 0.5)
    return Mix(create_post=others * share / (1 - share))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stack that stops us stops us cleanly
    cli()
