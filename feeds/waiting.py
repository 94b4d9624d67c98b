"""Reading one's own writes: requests that wait until the view has seen a fact."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import Query
from fastapi.exceptions import RequestValidationError

from contract.facts import FACT_TOPICS, IDENTIFIER
from service.limits import tallied

TOKEN = rf"^(({'|'.join(FACT_TOPICS)})-[0-9]{{1,9}}-[0-9]{{1,18}}-{IDENTIFIER})?$"
After = Annotated[str | None, Query(pattern=TOKEN, description="a command's token: wait until it is visible")]


class Waiters:
    """Requests that wait, by what they wait for; used on the event loop's thread alone.

    `most` may wait, and half of these for one address (`network_of`): whoever comes then is answered at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._addresses: Counter[str] = Counter()
        self._closed = False

    async def until(self, key: str, done: Callable[[], bool], seconds: float, address: str) -> bool:
        """Whether it was done within these seconds; looks again whenever `key` is woken."""
        if self._addresses.total() >= self._most or self._addresses[address] >= max(1, self._most // 2):
            return done()
        with tallied(self._addresses, address):
            return await self._until(key, done, time.monotonic() + seconds)

    async def _until(self, key: str, done: Callable[[], bool], deadline: float) -> bool:
        while not done():
            left = deadline - time.monotonic()
            if left <= 0 or self._closed or not await self._woken(key, left):
                return done()
        return True

    async def _woken(self, key: str, seconds: float) -> bool:
        woken = asyncio.Event()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(woken)
        try:
            await asyncio.wait_for(woken.wait(), seconds)
            return True
        except asyncio.TimeoutError:
            return False
        finally:
            waiting.discard(woken)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def wake(self, keys: Iterable[str]) -> None:
        """Something changed about these."""
        for key in keys:
            for woken in self._waiting.get(key, ()):
                woken.set()

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed = True
        self.wake(list(self._waiting))


def wrong_query(name: str, why: str) -> RequestValidationError:
    """422, said as FastAPI says it."""
    return RequestValidationError([{"type": "value_error", "loc": ("query", name), "msg": why}])
