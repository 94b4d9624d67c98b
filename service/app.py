"""Builds one FastAPI app out of services, be it one alone or all five behind one port."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from conf.kafka import python_options
from conf.settings import Settings, load_settings
from service.auth import current_user
from service.docs import DOCS_POLICY, docs_page
from service.limits import Admission, user_buckets
from service.middleware import BodyLimit, Failures, HeadAsGet, RequestMetrics, SecurityHeaders
from service.origin import SameOrigin
from service.server import CannotStartError, listen, run

JSON_MAX_BYTES = 64 * 1024


class Refusal(BaseModel):
    """Why a request was not answered as asked."""

    detail: str


def refusals(**why: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for statuses, each given as `_404="what it means"`."""
    return {int(name[1:]): {"model": Refusal, "description": text} for name, text in why.items()}


ANYWHERE = refusals(
    _400="the request is broken",
    _403="a page of another site asks",
    _408="the body took too long",
    _413="the body is too large",
    _421="the service does not go by that name",
    _429="too many requests from this user or address: Retry-After says when",
    _500="something went wrong: the log has it under the id of the answer",
    _503="nothing can be done at the moment: Retry-After says when",
)
COMMANDS = refusals(_401="no token, or no good one", _403="it is somebody else's")


@dataclass(frozen=True)
class Service:
    """A service: its routes, what they need while the app runs, and how it is.

    `name` is also its principal in Kafka. `resources` puts what the routes need on `app.state`; `health` answers
    None when well, else a sentence. So does `readiness` when requests may come: who refuses by itself what cannot be
    done at the moment is always ready.
    """

    name: str
    router: APIRouter
    resources: Callable[[FastAPI, Settings], AbstractAsyncContextManager[None]]
    health: Callable[[FastAPI], str | None]
    readiness: Callable[[FastAPI], str | None] = lambda _: None

    @property
    def takes_commands(self) -> bool:
        """Whether it asks who the user is, and so needs the key of tokens."""
        return any(_asks_who(route.dependant) for route in self.router.routes if isinstance(route, APIRoute))


def _asks_who(route: Dependant) -> bool:
    return route.call is current_user or any(map(_asks_who, route.dependencies))


def build_app(services: Sequence[Service], settings: Settings) -> FastAPI:
    """The app of these services; nothing is opened before its lifespan starts. SystemExit where a password lacks."""
    for service in services:
        python_options(settings.acting_as(service.name))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if app.state.needs_key:
            app.state.jwt_key = settings.jwt_key()
        async with AsyncExitStack() as stack:
            try:
                for service in services:
                    await stack.enter_async_context(service.resources(app, settings.acting_as(service.name)))
            except CannotStartError as error:
                app.state.cannot_start = str(error)
                raise
            yield

    title = ", ".join(service.name for service in services) or "website"
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, responses=ANYWHERE)
    app.state.settings = settings
    app.state.needs_key = settings.demo or any(service.takes_commands for service in services)
    app.state.user_buckets = user_buckets(settings)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, json_bytes=JSON_MAX_BYTES, form_bytes=settings.image_max_bytes + JSON_MAX_BYTES)
    app.add_middleware(Failures)
    app.add_middleware(SameOrigin, host_names=settings.host_names)
    app.add_middleware(RequestMetrics)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Admission, settings=settings)  # outermost: a refusal must cost next to nothing
    app.add_exception_handler(RequestValidationError, _explain)
    _add_operations(app, services)
    for service in services:
        app.include_router(service.router)
    return app


def _explain(_: Request, error: Exception) -> JSONResponse:
    # Without what was sent: it may be large, or not even be writable as UTF-8.
    assert isinstance(error, RequestValidationError)
    told = [{"loc": part["loc"], "msg": part["msg"], "type": part["type"]} for part in error.errors()]
    return JSONResponse({"detail": told}, status_code=422)


def _add_operations(app: FastAPI, services: Sequence[Service]) -> None:
    @app.get("/healthz", tags=["operations"], summary="Whether every service here is well")
    async def healthz() -> JSONResponse:
        return _told({service.name: service.health(app) for service in services}, "unwell")

    @app.get("/readyz", tags=["operations"], summary="Whether every service here can take requests")
    async def readyz() -> JSONResponse:
        return _told({service.name: service.readiness(app) for service in services}, "not ready")

    @app.get("/metrics", tags=["operations"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": DOCS_POLICY})


def _told(complaints: Mapping[str, str | None], otherwise: str) -> JSONResponse:
    fine = not any(complaints.values())
    body = {
        "status": "ok" if fine else otherwise,
        "services": {name: complaint or "ok" for name, complaint in complaints.items()},
    }
    return JSONResponse(body, status_code=200 if fine else 503)


def serve(app: FastAPI) -> None:
    """Run the app until SIGTERM or Ctrl-C; SystemExit with one sentence where the port is taken."""
    settings: Settings = app.state.settings
    if app.state.needs_key:
        settings.jwt_key()  # a key that is none is said before anything starts
    run(app, listen(settings.http_host, settings.http_port))


def serve_alone(service: Service) -> None:
    """Run a service as a process of its own."""
    serve(build_app([service], load_settings()))
