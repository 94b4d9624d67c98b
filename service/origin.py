"""Keeps foreign web sites out: by the name that a request was sent to, and by the page that sent it."""

import ipaddress
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class SameOrigin:
    """421 for a host name that is not ours, 403 for what a page of another site asks for.

    A name that a stranger owns may lead to this machine (DNS rebinding), and then the browser takes the
    stranger's page for ours. An address cannot be rebound, nor can a name without a dot be owned.
    """

    def __init__(self, app: ASGIApp, host_names: str) -> None:
        self.app = app
        self._names = {name.strip().lower() for name in host_names.split(",") if name.strip()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if not self._is_ours(headers.getlist("host")):
            refusal = JSONResponse(
                {"detail": "this service does not go by that name: MSM_HOST_NAMES lists its names"}, status_code=421
            )
            return await refusal(scope, receive, send)
        if _is_foreign(scope["method"], headers):
            refusal = JSONResponse({"detail": "pages of other sites may not use this service"}, status_code=403)
            return await refusal(scope, receive, send)
        await self.app(scope, receive, send)

    def _is_ours(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return not hosts  # HTTP/1.0 has none; no browser speaks it
        try:
            name = urlsplit(f"//{hosts[0]}").hostname or ""
        except ValueError:
            return False
        return "." not in name.removesuffix(".localhost") or name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(method: str, headers: Headers) -> bool:
    """Whether a browser says that another site's page sent this. Following a link to us is none of that."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
    if site not in ("none", "same-origin") and not (mode == "navigate" and method == "GET"):
        return True
    origin = headers.get("origin")
    if origin is None or method in SAFE_METHODS:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host")
    except ValueError:
        return True
