"""The website and all five services on one port.

.venv/bin/python -m runtime.web
"""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Scope

from conf.settings import Settings, load_settings
from contract.facts import Identifier
from feeds import refresh_feed, trending_feed
from producers import comments, likes, posting
from service.app import Service, build_app, serve
from service.auth import issue_token

SERVICES = (
    posting.SERVICE,
    likes.SERVICE,
    comments.SERVICE,
    refresh_feed.SERVICE,
    trending_feed.SERVICE,
)
WEBSITE = Path(refresh_feed.__file__).with_name("website")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https: http: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
DEMO_USERS = ("ada", "grace", "linus", "margaret", "alan", "barbara")
DEMO_TOKEN_SECONDS = 24 * 60 * 60


class Website(StaticFiles):
    """Static files that the browser asks about each time, and that run no script but our own."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response


class DemoUsers(BaseModel):
    """Whom one may be."""

    users: list[str]


class DemoUser(BaseModel):
    """Whom one wants to be."""

    user_id: Identifier


class DemoToken(BaseModel):
    """What lets one act as that user."""

    token: str


demo = APIRouter(prefix="/demo", tags=["demo"])


@demo.get("", summary="Users that one may be: none outside the demo")
async def users(request: Request) -> DemoUsers:
    settings: Settings = request.app.state.settings
    return DemoUsers(users=list(DEMO_USERS) if settings.demo else [])


@demo.post("/token", summary="Be a user")
async def token(request: Request, wanted: DemoUser) -> DemoToken:
    settings: Settings = request.app.state.settings
    if not settings.demo:
        raise HTTPException(404, "nobody hands out tokens here: msm token USER makes one")
    return DemoToken(token=issue_token(settings, wanted.user_id, DEMO_TOKEN_SECONDS))


class LastAudit(BaseModel):
    """The newest result of the auditor; all null where there is none yet."""

    audited_at: str | None = None
    facts: int | None = None
    drift: int | None = None
    part: int | None = None
    parts: int | None = None
    seconds: float | None = None


audits = APIRouter(tags=["audit"])


@audits.get("/audit", summary="What the last recount of all facts found")
def last_audit(request: Request) -> LastAudit:
    try:
        return LastAudit.model_validate_json(request.app.state.settings.audit_result.read_bytes())
    except (OSError, ValueError):
        return LastAudit()


def create_app(settings: Settings, services: Sequence[Service] = SERVICES) -> FastAPI:
    """Everything on one port; without services the page alone, for where a proxy brings them together."""
    app = build_app(services, settings)
    app.include_router(demo)
    app.include_router(audits)
    app.mount("/", Website(directory=WEBSITE, html=True), name="website")
    return app


if __name__ == "__main__":
    serve(create_app(load_settings()))
