"""Requests to a feed or a service, at an even pace or as fast as they are answered: bench.load --help"""

import asyncio
import json
import random
import resource
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.facts import post_id
from bench.http import Connection
from conf.settings import Settings, load_settings
from conf.store import write_whole
from service.auth import issue_token

Ask = tuple[str, str, dict[str, str]]
TOKENS = 2_000
FILES = 16_384

cli = typer.Typer(add_completion=False)


@dataclass
class Answers:
    """Of each answer its status, and the seconds from when it was due; of commands that were taken their tokens.

    `span`: seconds from when the first was due until the last was answered.
    """

    statuses: "array[int]"
    seconds: "array[float]"
    tokens: list[str]
    span: float = 0.0

    def add(self, status: int, seconds: float, body: bytes = b"") -> None:
        self.statuses.append(status)
        self.seconds.append(seconds)
        if status == 202:
            self.tokens.append(json.loads(body)["token"])

    def of(self, *statuses: int) -> list[float]:
        return [took for status, took in zip(self.statuses, self.seconds, strict=True) if status in statuses]

    def rate(self, *statuses: int) -> float:
        """Answers a second with one of these."""
        return len(self.of(*statuses)) / self.span

    @classmethod
    def read(cls, path: Path) -> "Answers":
        said: dict[str, Any] = json.loads(path.read_text())
        return cls(array("i", said["statuses"]), array("d", said["seconds"]), said["tokens"], said["span"])


@cli.command()
def main(
    kind: Annotated[str, typer.Option(help="read: pages and posts; like: commands, each by another user.")],
    posts: Annotated[int, typer.Option(help="How many posts there are.")],
    seconds: Annotated[float, typer.Option(help="For how long.")],
    connections: Annotated[int, typer.Option(help="How many at once.")],
    log: Annotated[Path, typer.Option(help="Where it is written down.")],
    rate: Annotated[float, typer.Option(help="Requests a second, due at an even pace; 0: as fast as it goes.")] = 0,
) -> None:
    """Ask, and write down what was answered when. A request that waits for a connection is late, not left out."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    settings = load_settings()
    asks = likes(settings, posts) if kind == "like" else reads(posts)
    answers = asyncio.run(ask(settings, asks, rate, seconds, connections))
    lists = {"statuses": list(answers.statuses), "seconds": list(answers.seconds), "tokens": answers.tokens}
    write_whole(log, {**lists, "span": answers.span})


def reads(posts: int) -> Iterator[Ask]:
    """Four pages of the feed for each single post."""
    rng = random.Random("reads")
    while True:
        yield ("GET", "/feed?limit=20" if rng.random() < 0.8 else f"/posts/{post_id(rng.randrange(posts))}", {})


def likes(settings: Settings, posts: int) -> Iterator[Ask]:
    """Each by the next of many users."""
    rng = random.Random("likes")
    headers = [{"Authorization": f"Bearer {issue_token(settings, f'load-{n}', 3_600)}"} for n in range(TOKENS)]
    for number in count():
        yield "PUT", f"/posts/{post_id(rng.randrange(posts))}/like", headers[number % TOKENS]


async def ask(settings: Settings, asks: Iterator[Ask], rate: float, seconds: float, connections: int) -> Answers:
    """At an even pace, or from each connection one after the other."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await Connection.open(settings.http_host, settings.http_port))
    answers = Answers(array("i"), array("d"), [])

    async def one(due: float, ask: Ask) -> None:
        connection = await idle.get()
        try:
            answer = await connection.request(*ask)
            answers.add(answer.status, answer.at - due, answer.body)
        except ConnectionError:
            answers.add(0, time.monotonic() - due)
        if connection.lost:
            connection = await Connection.open(settings.http_host, settings.http_port)
        idle.put_nowait(connection)

    began = time.monotonic()
    await (_paced(one, asks, rate, seconds) if rate else _driven(one, asks, seconds, connections))
    answers.span = time.monotonic() - began
    while not idle.empty():
        idle.get_nowait().close()
    return answers


async def _paced(one: Callable[[float, Ask], Any], asks: Iterator[Ask], rate: float, seconds: float) -> None:
    began, tasks = time.monotonic(), []
    for turn in range(int(rate * seconds)):
        due = began + turn / rate
        if due > time.monotonic():
            await asyncio.sleep(due - time.monotonic())
        tasks.append(asyncio.create_task(one(due, next(asks))))
    await asyncio.gather(*tasks)


async def _driven(one: Callable[[float, Ask], Any], asks: Iterator[Ask], seconds: float, connections: int) -> None:
    until = time.monotonic() + seconds

    async def keep_on() -> None:
        while time.monotonic() < until:
            await one(time.monotonic(), next(asks))

    await asyncio.gather(*(keep_on() for _ in range(connections)))


if __name__ == "__main__":
    cli()
