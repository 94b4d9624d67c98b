"""Many clients of /feed/stream in one process: .venv/bin/python -m bench.crowd --help"""

import asyncio
import json
import resource
import signal
from array import array
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from bench.http import Connection, Events, data_of
from conf.settings import Settings, load_settings

AT_ONCE, RETRY_SECONDS = 25, 0.5
FILES = 16_384

cli = typer.Typer(add_completion=False)


@dataclass
class Crowd:
    """What they got: seconds from when each probe was sent, and whose stream has ended."""

    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    connections: list[Connection] = field(default_factory=list)
    lost: int = 0

    def take(self, event: bytes, at: float) -> None:
        sent = sent_at(event)
        if sent is not None:
            self.seconds.append(at - sent)


@cache
def sent_at(event: bytes) -> float | None:
    """When a probe was sent; all clients get the same bytes."""
    return float(json.loads(data_of(event))["caption"]) if b'"post_id":"probe-' in event else None


@cli.command()
def main(
    clients: Annotated[int, typer.Option(help="How many.")],
    log: Annotated[Path, typer.Option(help="Where it is written down, at the end.")],
) -> None:
    """Hold so many streams until SIGTERM, and write down how late each probe came to each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    crowd = asyncio.run(hold(load_settings(), clients, log.with_suffix(".ready")))
    log.write_text(json.dumps({"seconds": list(crowd.seconds), "lost": crowd.lost}))


async def hold(settings: Settings, clients: int, ready: Path) -> Crowd:
    """Open them, say so, and read until told to stop."""
    stop, crowd = asyncio.Event(), Crowd()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    for number in range(0, clients, AT_ONCE):
        await asyncio.gather(*(_join(settings, crowd) for _ in range(min(AT_ONCE, clients - number))))
    ready.touch()
    await stop.wait()
    crowd.lost = sum(connection.lost for connection in crowd.connections)
    for connection in crowd.connections:
        connection.close()
    return crowd


async def _join(settings: Settings, crowd: Crowd) -> None:
    """Open a stream; whoever is refused comes back, as a page does."""
    while True:
        connection = await Connection.open(settings.http_host, settings.http_port, Events(crowd.take).feed)
        if await connection.follow("/feed/stream") == 200:
            return crowd.connections.append(connection)
        connection.close()
        await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    cli()
