"""How much at once: token buckets for users and addresses, and a bound on requests in hand."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from fastapi.responses import JSONResponse
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conf.settings import Settings

REFUSED = Counter("msm_http_refused", "Requests that were refused to keep the others fast", ["why"])
KEYS_MAX = 100_000
BUSY_RETRY_SECONDS = 1
OPERATIONS = ("/healthz", "/metrics")
"""Answered however busy the service is: they say so."""


class TokenBuckets:
    """A bucket a key: `burst` tokens when full, `rate` new ones a second, one taken at a time.

    Kept as the moment at which a bucket is full again (the generic cell rate algorithm), for the `KEYS_MAX`
    keys that were last seen: whoever is forgotten has a full bucket.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._slack, self._clock = 1 / rate, (burst - 1) / rate, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """0.0 where a token was there, else the seconds until there is one."""
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now))
        wait = max(0.0, full_at - now - self._slack)
        self._full_at[key] = full_at if wait else full_at + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > KEYS_MAX:
            self._full_at.popitem(last=False)
        return wait


def user_buckets(settings: Settings) -> TokenBuckets:
    """What a user may do, from wherever."""
    return TokenBuckets(settings.user_rate, settings.user_burst)


def retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class Admission:
    """Lets in as many requests as can be answered soon: 429 to an address that asks too often, 503 beyond the bound.

    A request counts until its answer begins, so a stream of events, or a slow reader, keeps nobody out.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self._most = app, settings.max_requests
        self._addresses = TokenBuckets(settings.address_rate, settings.address_burst)
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await refusal(scope, receive, send)
        self._in_hand += 1
        counted = True

        def done() -> None:
            nonlocal counted
            self._in_hand -= counted
            counted = False

        async def started(message: Message) -> None:
            done()
            await send(message)

        try:
            await self.app(scope, receive, started)
        finally:
            done()

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        wait = self._addresses.take(network_of(scope["client"]))
        if wait:
            REFUSED.labels("address").inc()
            return _refuse(429, "too many requests from this address", wait)
        if self._in_hand >= self._most and scope["path"] not in OPERATIONS:
            REFUSED.labels("busy").inc()
            return _refuse(503, "too many requests at once", BUSY_RETRY_SECONDS)
        return None


def _refuse(status: int, why: str, seconds: float) -> JSONResponse:
    return JSONResponse({"detail": f"{why}; try again later"}, status_code=status, headers=retry_after(seconds))


def network_of(client: tuple[str, int] | None) -> str:
    """The address, or of IPv6 the /64: that is what one household or machine has."""
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return str(address)
