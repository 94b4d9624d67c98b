"""How much at once: token buckets for users and addresses, and a bound on requests in hand."""

import asyncio
import ipaddress
import math
import resource
import time
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi.responses import JSONResponse
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conf.settings import Settings
from service.middleware import SECURITY_HEADERS

REFUSED = Counter("msm_http_refused", "Requests that were refused to keep the others fast", ["why"])
KEYS_MAX = 100_000
BUSY_RETRY_SECONDS = 1
TURN_SECONDS = 0.1
"""After that long a turn of the event loop begins no more requests."""
FEW = 100
"""So few are not what makes a turn long: the machine has other things to do."""
OPERATIONS = ("/healthz", "/readyz", "/metrics")
"""Answered however busy the service is: they say so."""
SPARE_FILES = 256
"""For the broker's connections, stores and pictures."""


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


@contextmanager
def tallied(tally: Tally[str], key: str) -> Iterator[None]:
    """One more of this key for as long as the block lasts; of which there is none is forgotten."""
    tally[key] += 1
    try:
        yield
    finally:
        tally[key] -= 1
        if not tally[key]:
            del tally[key]


class Turn:
    """One turn of the event loop: whatever is ready waits until it is over, and an answer takes a handful of them.

    Unlike the time that answers take, no slow client, slow broker or long wait can stretch it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_on = False
        self._began, self._taken = 0.0, 0

    def has_room(self) -> bool:
        """Whether a request more may be begun in this turn; on the event loop's thread."""
        now = self._clock()
        if not self._is_on:
            self._is_on, self._began, self._taken = True, now, 0
            asyncio.get_running_loop().call_soon(self._over)
        if self._taken >= FEW and now - self._began > TURN_SECONDS:
            return False
        self._taken += 1
        return True

    def _over(self) -> None:
        self._is_on = False


class Admission:
    """Lets in as many requests as can be answered soon: 429 to an address that asks too often, 503 beyond the bound.

    One address may have half of them: one that waits, or is slow to send, does not keep the others out.

    503 also where the processor is behind: each request more would make all of them late, and fewer would be answered.
    A request counts until its answer begins, so a stream of events, or a slow reader, keeps nobody out. An address gets
    no more streams (429) while a third of all connections are answers to it that have not ended, also behind a proxy.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self._most = app, settings.max_requests
        self._most_open = max(1, most_connections(settings) // 3)
        self._addresses = TokenBuckets(settings.address_rate, settings.address_burst)
        self._in_hand: Tally[str] = Tally()
        self._open: Tally[str] = Tally()
        self._total = 0
        self._turn = Turn()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        address = network_of(scope["client"])
        refusal = self._refusal(address, scope["path"])
        if refusal is not None:
            return await refusal(scope, receive, send)
        self._in_hand[address] += 1
        self._total += 1
        counted = True

        def done() -> None:
            nonlocal counted
            self._in_hand[address] -= counted
            self._total -= counted
            counted = False
            if not self._in_hand[address]:
                self._in_hand.pop(address, None)

        async def started(message: Message) -> None:
            done()
            await send(message)

        try:
            with tallied(self._open, address):
                await self.app(scope, receive, started)
        finally:
            done()

    def _refusal(self, address: str, path: str) -> JSONResponse | None:
        wait = self._addresses.take(address)
        if wait:
            REFUSED.labels("address").inc()
            return _refuse(429, "too many requests from this address", wait)
        if path in OPERATIONS:
            return None
        if path.endswith("/stream") and self._open[address] >= self._most_open:
            REFUSED.labels("address").inc()
            return _refuse(429, "too many open streams of this address", BUSY_RETRY_SECONDS)
        has_its_share = self._in_hand[address] >= max(1, self._most // 2)
        if has_its_share or self._total >= self._most or not self._turn.has_room():
            REFUSED.labels("busy").inc()
            return BUSY
        return None


def _refuse(status: int, why: str, seconds: float) -> JSONResponse:
    headers = {**SECURITY_HEADERS, **retry_after(seconds)}
    return JSONResponse({"detail": f"{why}; try again later"}, status_code=status, headers=headers)


BUSY = _refuse(503, "too many requests at once", BUSY_RETRY_SECONDS)
"""Made once: where requests are too many, what a refusal costs is taken from those that could be answered."""


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


def most_connections(settings: Settings) -> int:
    """As many as are set, if the system lets us have so many files; it is asked for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return soft - SPARE_FILES
    return settings.max_connections
