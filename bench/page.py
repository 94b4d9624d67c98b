"""What a page sees: the stream of changes, and its own writes. .venv/bin/python -m bench.page --help"""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from bench.http import Connection, Events, data_of
from bench.probes import OwnWrite, Seen, append
from conf.settings import Settings, load_settings
from service.auth import issue_token

EVERY_SECONDS = 0.2

cli = typer.Typer(add_completion=False)


@cli.command()
def stream(log: Annotated[Path, typer.Option(help="Where what came is written down, a line each.")]) -> None:
    """Follow /feed/stream until SIGTERM, and write down each row of a probe post."""
    asyncio.run(_until_told(log, _follow))


@cli.command()
def own(
    post: Annotated[str, typer.Option(help="The post to like.")],
    log: Annotated[Path, typer.Option(help="Where each write is written down, a line each.")],
) -> None:
    """Five times a second like a post as another user, and ask for the post with that like in it, until SIGTERM."""
    asyncio.run(_until_told(log, lambda settings, lines: _like_and_look(settings, lines, post)))


async def _until_told(log: Path, work: Callable[[Settings, IO[str]], Awaitable[None]]) -> None:
    with log.open("w") as lines:
        working = asyncio.ensure_future(work(load_settings(), lines))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        try:
            await working
        except asyncio.CancelledError:
            return


async def _follow(settings: Settings, lines: IO[str]) -> None:
    shown: set[str] = set()
    is_told_to_reload = asyncio.Event()

    def take(event: bytes, at: float) -> None:
        if b'"probe-' in event:
            show(json.loads(data_of(event)), at)
        elif b"event: reset" in event.split(b"\n"):
            is_told_to_reload.set()

    def show(row: dict[str, Any], at: float) -> None:
        shown.add(row["post_id"])
        append(lines, [Seen(row["post_id"], row["likes"], at)])

    following = await Connection.open(settings.http_host, settings.http_port, Events(take).feed)

    async def follow() -> None:
        await following.request("GET", "/feed/stream")
        raise SystemExit("the stream of changes has ended")

    async def reload() -> None:
        """As a page does where more has changed than it is told."""
        while await is_told_to_reload.wait():
            is_told_to_reload.clear()
            asking = await Connection.open(settings.http_host, settings.http_port)
            for post in list(shown):
                answer = await asking.request("GET", f"/posts/{post}")
                if answer.status != 200:
                    raise SystemExit(f"{post} was answered with {answer.status}: {answer.body!r}")
                show(json.loads(answer.body), answer.at)
            asking.close()

    try:
        await asyncio.gather(follow(), reload())
    finally:
        following.close()


async def _like_and_look(settings: Settings, lines: IO[str], post: str) -> None:
    """What is refused, or breaks off, is a write that was not seen: the page goes on, as one of people would."""
    connection = await Connection.open(settings.http_host, settings.http_port)
    try:
        for number in count(1):
            headers = {"Authorization": f"Bearer {issue_token(settings, f'page-{number}', 600)}"}
            began = time.monotonic()
            try:
                if connection.lost:
                    connection = await Connection.open(settings.http_host, settings.http_port)
                append(lines, [await _own_write(connection, post, headers, began)])
            except ConnectionError:
                at = time.monotonic()
                append(lines, [OwnWrite(began, at, at, False)])
            await asyncio.sleep(max(0.0, began + EVERY_SECONDS - time.monotonic()))
    finally:
        connection.close()


async def _own_write(connection: Connection, post: str, headers: dict[str, str], began: float) -> OwnWrite:
    liked = await connection.request("PUT", f"/posts/{post}/like", headers)
    if liked.status != 202:
        return OwnWrite(began, liked.at, liked.at, False)
    seen = await connection.request("GET", f"/posts/{post}?after={json.loads(liked.body)['token']}")
    return OwnWrite(began, liked.at, seen.at, seen.headers.get("x-caught-up") == "true")


if __name__ == "__main__":
    cli()
