"""A page that is measured sees what a page sees: also what it is told only to load anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from itertools import count
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from bench import page
from bench.probes import OwnWrite, Seen, read_lines
from conf.settings import Settings
from tests.feeds.serving import PATIENCE_SECONDS, served

app = FastAPI()
app.state.settings = Settings()


@app.get("/feed/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b'event: post\ndata: {"post_id":"probe-a","likes":1}\n\nevent: post\ndata: {"post_id":"b","likes":9}\n\n'
        yield b"event: reset\ndata: {}\nid: 1-7\n\n"
        await asyncio.sleep(60)

    return StreamingResponse(parts())


likes = count()


@app.put("/posts/{post_id}/like")
async def like(response: Response) -> dict[str, str]:
    """The second is refused."""
    response.status_code = 429 if next(likes) == 1 else 202
    return {"token": "t"}


@app.get("/posts/{post_id}")
async def post(post_id: str, response: Response) -> dict[str, object]:
    response.headers["X-Caught-Up"] = "true"
    return {"post_id": post_id, "likes": 5}


async def until_written(work: Awaitable[None], log: Path, kind: type, many: int) -> None:
    working = asyncio.ensure_future(work)
    while len(read_lines(log, kind)) < many and not working.done():
        await asyncio.sleep(0.02)
    working.cancel()
    await asyncio.wait([working])


def test_what_came_with_a_reset_is_looked_up(tmp_path: Path) -> None:
    log = tmp_path / "seen"
    with served(app) as url, log.open("w") as lines:
        following = page._follow(Settings(http_port=int(url.rpartition(":")[2])), lines)
        asyncio.run(asyncio.wait_for(until_written(following, log, Seen, 2), PATIENCE_SECONDS))
    assert [(row.post, row.likes) for row in read_lines(log, Seen)] == [("probe-a", 1), ("probe-a", 5)]


def test_a_write_that_is_refused_is_noted_and_the_page_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "own"
    with served(app) as url, log.open("w") as lines:
        settings = Settings(http_port=int(url.rpartition(":")[2]), data_dir=tmp_path)
        liking = page._like_and_look(settings, lines, "p")
        asyncio.run(asyncio.wait_for(until_written(liking, log, OwnWrite, 3), PATIENCE_SECONDS))
    assert [one.caught_up for one in read_lines(log, OwnWrite)][:3] == [True, False, True]
