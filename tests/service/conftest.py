"""A service with a route for each kind of trouble, on the server that the real ones run on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.responses import StreamingResponse

from conf.settings import Settings
from service.app import Service, build_app
from service.auth import CurrentUser
from tests.feeds.serving import served

KEY = "a secret that is long enough for HS256"
router = APIRouter()


@router.get("/hello")
async def hello() -> str:
    return "hello"


@router.post("/echo")
async def echo(text: Annotated[str, Body(embed=True)]) -> int:
    return len(text)


@router.post("/ignore")
async def ignore() -> str:
    """Answers without having looked at the body."""
    return "whatever"


@router.put("/me")
async def me(user: CurrentUser) -> str:
    return user


@router.get("/hang")
async def hang(request: Request) -> str:
    await request.app.state.go_on.wait()
    return "at last"


@router.get("/work")
async def work() -> str:
    """Keeps the processor, and so the event loop, busy."""
    time.sleep(0.005)
    return "done"


@router.get("/stream")
async def stream(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await request.app.state.go_on.wait()

    return StreamingResponse(parts())


@router.get("/flood")
async def flood(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        request.app.state.floods = True
        try:
            while True:
                yield bytes(65_536)
                await asyncio.sleep(0)  # where it hears that it is to end
        finally:
            request.app.state.floods = False

    return StreamingResponse(parts())


@router.get("/boom")
async def boom() -> str:
    raise RuntimeError("the password is swordfish")


@asynccontextmanager
async def _resources(app: FastAPI, _: Settings) -> AsyncIterator[None]:
    app.state.go_on = asyncio.Event()
    app.state.loop = asyncio.get_running_loop()
    yield


SERVICE = Service("trouble", router, _resources, lambda _: None)


@dataclass(frozen=True)
class Running:
    """A server under test."""

    app: FastAPI
    port: int
    http: httpx2.Client

    def go_on(self) -> None:
        self.app.state.loop.call_soon_threadsafe(self.app.state.go_on.set)


Serve = Callable[..., AbstractContextManager[Running]]


@contextmanager
def running_server(folder: Path, **settings: Any) -> Iterator[Running]:
    """The service with these settings, on a port of its own."""
    app = build_app([SERVICE], Settings(data_dir=folder, auth_secret=KEY, **settings))
    with served(app) as url, httpx2.Client(base_url=url, trust_env=False, timeout=20) as http:
        yield Running(app, http.base_url.port, http)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Runs the service with the settings of a test."""
    return partial(running_server, tmp_path)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with its default settings, but for names that it goes by."""
    with running_server(tmp_path_factory.mktemp("service"), host_names="example.org, s.eu") as running:
        yield running
