"""A server with the routes of the whole stack, in memory: to work on the page without Kafka and Spark.

    .venv/bin/python -m tests.website.stand_in --port 24000 --rate 20

It passes the same scenarios as the real thing (scenarios.py).
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from conf.settings import Settings
from contract.results import PostWithCounts
from feeds.explain import Explanation, explained
from producers.pictures import CONTENT_TYPES, NAME, clean_picture, keep_picture
from producers.simulator.pictures import paint_pictures
from producers.simulator.words import caption
from runtime.web import DEMO_USERS, WEBSITE, Website, audits, demo
from service.app import Service, build_app, serve
from service.auth import CurrentUser
from tests.website.world import Refused, World

router = APIRouter()
RANK_EVERY_SECONDS = 1.0


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def _do(request: Request, work: Any) -> Any:
    """The answer of a command; refusals as the services put them."""
    world = world_of(request)
    if world.broker_away:
        raise HTTPException(503, "the broker is away", headers={"Retry-After": "2"})
    try:
        return work(world)
    except Refused as refusal:
        raise HTTPException(403, str(refusal)) from None


@router.post("/posts", status_code=201)
async def create_post(request: Request, user: CurrentUser) -> Any:
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form() as form:
            upload: Any = form["image"]
            caption = str(form.get("caption", ""))
            image_url = _keep(request, await upload.read())
    else:
        body = await request.json()
        image_url, caption = body["image_url"], body["caption"]
    return _do(request, lambda world: world.create_post(user, image_url, caption))


def _keep(request: Request, data: bytes) -> str:
    clean, extension = clean_picture(data)
    return "/media/" + keep_picture(request.app.state.settings.media_dir, clean, extension)


@router.get("/media/{name}")
async def picture(request: Request, name: str) -> FileResponse:
    path = request.app.state.settings.media_dir / name
    if not NAME.fullmatch(name) or not path.is_file():
        raise HTTPException(404, "there is no such picture")
    return FileResponse(path, media_type=CONTENT_TYPES[path.suffix[1:]])


@router.delete("/posts/{post_id}", status_code=202)
async def delete_post(request: Request, post_id: str, user: CurrentUser) -> Any:
    return _do(request, lambda world: world.delete_post(user, post_id))


@router.put("/posts/{post_id}/like", status_code=202)
async def like(request: Request, post_id: str, user: CurrentUser) -> Any:
    return _do(request, lambda world: world.like(user, post_id, True))


@router.delete("/posts/{post_id}/like", status_code=202)
async def unlike(request: Request, post_id: str, user: CurrentUser) -> Any:
    return _do(request, lambda world: world.like(user, post_id, False))


@router.post("/posts/{post_id}/comments", status_code=201)
async def add_comment(request: Request, post_id: str, user: CurrentUser) -> Any:
    text = (await request.json())["text"]
    return _do(request, lambda world: world.add_comment(user, post_id, text))


@router.delete("/posts/{post_id}/comments/{comment_id}", status_code=202)
async def delete_comment(request: Request, post_id: str, comment_id: str, user: CurrentUser) -> Any:
    return _do(request, lambda world: world.delete_comment(user, post_id, comment_id))


@router.get("/feed")
async def feed(request: Request, limit: int = 20, before: str | None = None) -> Any:
    return world_of(request).page(limit, before)


@router.get("/posts/{post_id}")
async def post(request: Request, response: Response, post_id: str, after: str | None = None) -> Any:
    world = world_of(request)
    if after:
        caught_up = await world.until_seen(after, request.app.state.settings.wait_seconds)
        response.headers["X-Caught-Up"] = str(caught_up).lower()
    if post_id not in world.published:
        raise HTTPException(404, f"there is no post {post_id}")
    return world.published[post_id]


@router.get("/posts/{post_id}/explain")
def explain(request: Request, post_id: str) -> Explanation:
    world = world_of(request)
    post = world.published.get(post_id)
    published = PostWithCounts.model_validate(post) if post else None
    return explained(post_id, world.counted_facts(post_id), published, None, newest=10)


@router.get("/feed/stream", response_class=EventSourceResponse)
async def feed_stream(
    request: Request,
    last_event_id: str | None = None,
    resume: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> AsyncIterator[ServerSentEvent]:
    world = world_of(request)
    at = world.place_of(resume or last_event_id)
    if at is None:
        yield ServerSentEvent(event="reset", data=world.page(20, None), id=world.stream_id)
        at = len(world.log)
    async for position, (name, data) in world.follow(at):
        yield ServerSentEvent(event=name, data=data, id=world.id_at(position))


@router.get("/trending")
async def trending(request: Request) -> Any:
    return world_of(request).ranking()


@router.get("/rising")
async def rising(request: Request) -> Any:
    return world_of(request).ranking()


@router.get("/trending/stream", response_class=EventSourceResponse)
async def ranking_stream(request: Request) -> AsyncIterator[ServerSentEvent]:
    world = world_of(request)
    with world.stream() as arrives:
        while not world.closing:
            if arrives():
                for name in ("trending", "rising"):
                    yield ServerSentEvent(event=name, data=world.ranking())
                yield ServerSentEvent(event="live", data={})
            await world.rest(RANK_EVERY_SECONDS)


@asynccontextmanager
async def _resources(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    pipeline = asyncio.create_task(app.state.world.run())
    yield
    app.state.world.closing = True
    pipeline.cancel()
    with suppress(asyncio.CancelledError):
        await pipeline


SERVICE = Service("stand_in", router, _resources, lambda app: None)


def create_app(settings: Settings, world: World) -> FastAPI:
    """The stand-in for the whole stack."""
    app = build_app([SERVICE], settings)
    app.state.world = world
    if settings.demo:
        app.include_router(demo)
    app.include_router(audits)
    app.mount("/", Website(directory=WEBSITE, html=True))
    return app


def populate(world: World, media: Path, posts: int, seed: int = 1) -> None:
    """Some posts with pictures and engagement, for looking at the page."""
    chance = random.Random(seed)
    pictures = paint_pictures(media)
    for number in range(posts):
        user, text = chance.choice(DEMO_USERS), caption(chance)
        world.create_post(user, chance.choice(pictures), text, minutes_ago=posts - number)
    world.apply_all()
    for _ in range(posts * 30):
        world.random_engagement(chance)
    world.apply_all()


def main() -> None:
    """Serve until stopped, with traffic of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=24000)
    parser.add_argument("--rate", type=float, default=10.0, help="facts a second")
    parser.add_argument("--posts", type=int, default=60)
    parser.add_argument("--no-demo", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="msm-website-") as folder:
        settings = Settings(data_dir=Path(folder), http_port=chosen.port, demo=not chosen.no_demo)
        world = World(rate=chosen.rate)
        populate(world, settings.media_dir, chosen.posts)
        serve(create_app(settings, world))


if __name__ == "__main__":
    main()
