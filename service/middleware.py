"""Plain ASGI middleware: limits on bodies, metrics of requests, security headers, errors that tell nothing."""

import asyncio
from time import monotonic, perf_counter
from traceback import format_exception
from uuid import uuid4

import structlog
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("msm_http_requests", "HTTP requests answered", ["method", "route", "status"])
SECONDS = Histogram("msm_http_first_byte_seconds", "Time until the answer started", ["method", "route"])
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
JSON_SECONDS, FORM_SECONDS = 10.0, 120.0
"""How long a body may take to arrive: a few kilobytes, and a picture over a slow line."""
FORM = ("POST", "/posts")
"""The only request that may bring a form with a picture."""

log = structlog.get_logger()


class BodyLimit:
    """Refuses a body that is too large (413), told in its header or found while reading, or too slow (408).

    Whoever is answered before the whole body was read is cut off: else it could go on for ever.
    """

    def __init__(self, app: ASGIApp, json_bytes: int, form_bytes: int) -> None:
        self.app, self.json_bytes, self.form_bytes = app, json_bytes, form_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        may_be_form = (scope["method"], scope["path"]) == FORM
        is_form = may_be_form and headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = self.form_bytes if is_form else self.json_bytes
        body = _Body(receive, limit, FORM_SECONDS if is_form else JSON_SECONDS)
        told = headers.get("content-length", "")
        body.is_read = "transfer-encoding" not in headers and told in ("", "0")

        async def cutting_off(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.is_read:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        if told.isdecimal() and int(told) > limit:
            refusal = JSONResponse({"detail": _too_large(limit)}, status_code=413)
            return await refusal(scope, receive, cutting_off)
        await self.app(scope, body.receive, cutting_off)


class _Body:
    """A request's body as it arrives, within its size and time."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self._limit, self._deadline = receive, limit, monotonic() + seconds
        self._size = 0
        self.is_read = False

    async def receive(self) -> Message:
        if self.is_read:  # waits for the client to go away, which has all the time there is
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._deadline - monotonic())
        except asyncio.TimeoutError:
            raise HTTPException(408, "the body took too long to arrive") from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise HTTPException(413, _too_large(self._limit))
        self.is_read = not message.get("more_body", False)
        return message


def _too_large(limit: int) -> str:
    return f"the body is larger than the {limit:,} bytes that are allowed here"


class Failures:
    """What nobody foresaw is answered with an id and no more; the log has the reason under that id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return  # who has gone is answered nothing
        except Exception as error:
            failure = uuid4().hex
            # No query and no local variables: they hold what is nobody's business, tokens among it.
            log.error(
                "request failed", id=failure, method=scope["method"], path=scope["path"][:200], trace=_trace(error)
            )
            if has_started:
                raise _CutOffError from None
            answer = {"detail": f"something went wrong here; its id is {failure}", "id": failure}
            await JSONResponse(answer, status_code=500)(scope, receive, send)


def _trace(error: Exception) -> str:
    return "".join(format_exception(error))


class _CutOffError(Exception):
    """An answer that had begun cannot be finished; the log has the reason."""


class HeadAsGet:
    """Answers HEAD as GET would be, without the body; a stream of events would never end, and stays unanswered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].endswith("/stream"):
            return await self.app(scope, receive, send)
        asked = {**scope, "method": "GET"}

        async def without_body(message: Message) -> None:
            scope["route"] = asked.get("route")  # for who counts requests
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app(asked, receive, without_body)


class RequestMetrics:
    """Counts requests by route (not by path: paths carry ids), timed until the answer starts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                REQUESTS.labels(scope["method"], route, message["status"]).inc()
                SECONDS.labels(scope["method"], route).observe(perf_counter() - began)
            await send(message)

        await self.app(scope, receive, observed)


class SecurityHeaders:
    """Adds the usual headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, secured)
