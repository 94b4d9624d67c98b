"""A page that is measured sees what a page sees: also what it is told only to load anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench import page
from bench.probes import Seen, read_lines
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


@app.get("/posts/{post_id}")
async def post(post_id: str) -> dict[str, object]:
    return {"post_id": post_id, "likes": 5}


def test_what_came_with_a_reset_is_looked_up(tmp_path: Path) -> None:
    log = tmp_path / "seen"

    async def follow(settings: Settings) -> None:
        with log.open("w") as lines:
            following = asyncio.ensure_future(page._follow(settings, lines))
            while len(read_lines(log, Seen)) < 2 and not following.done():
                await asyncio.sleep(0.02)
            following.cancel()
            await asyncio.wait([following])

    with served(app) as url:
        asyncio.run(asyncio.wait_for(follow(Settings(http_port=int(url.rpartition(":")[2]))), PATIENCE_SECONDS))
    assert [(row.post, row.likes) for row in read_lines(log, Seen)] == [("probe-a", 1), ("probe-a", 5)]
