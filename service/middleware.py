"""Plain ASGI middleware: limits on bodies, metrics of requests, security headers."""

from time import perf_counter

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("msm_http_requests", "HTTP requests answered", ["method", "route", "status"])
SECONDS = Histogram("msm_http_first_byte_seconds", "Time until the answer started", ["method", "route"])
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Pictures may be anywhere, since a post may name an image by its address.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' http: https: data: blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}


class BodyLimit:
    """Refuses (413) a body that is too large, told in its header or found while reading."""

    def __init__(self, app: ASGIApp, json_bytes: int, form_bytes: int) -> None:
        self.app, self.json_bytes, self.form_bytes = app, json_bytes, form_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").startswith("multipart/form-data")
        limit = self.form_bytes if is_form else self.json_bytes
        told = headers.get("content-length", "")
        if told.isdecimal() and int(told) > limit:
            refusal = JSONResponse({"detail": _too_large(limit)}, status_code=413)
            return await refusal(scope, receive, send)
        await self.app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return counted


def _too_large(limit: int) -> str:
    return f"the body is larger than the {limit:,} bytes that are allowed here"


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
