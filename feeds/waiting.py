"""Reading one's own writes: requests that wait until the view has seen a fact."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import Query
from fastapi.exceptions import RequestValidationError

from contract.facts import FACT_TOPICS, IDENTIFIER

TOKEN = rf"^({'|'.join(FACT_TOPICS)})-[0-9]{{1,9}}-[0-9]{{1,18}}-{IDENTIFIER}$"
After = Annotated[str | None, Query(pattern=TOKEN, description="a command's token: wait until it is visible")]


class Waiters:
    """Requests that wait, by what they wait for; used on the event loop's thread alone."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    async def until(self, key: str, done: Callable[[], bool], seconds: float) -> bool:
        """Whether it was done within these seconds; looks again whenever `key` is woken."""
        deadline = time.monotonic() + seconds
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
