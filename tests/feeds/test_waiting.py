"""Requests that wait for a fact: so many at a time, and of one address half of them."""

import asyncio

from feeds.waiting import Waiters


def test_so_many_wait_and_of_one_address_half_of_them() -> None:
    async def waits() -> list[bool]:
        waiters, is_there = Waiters(4), False

        def ask(address: str) -> "asyncio.Task[bool]":
            return asyncio.create_task(waiters.until("p1", lambda: is_there, 60, address))

        asked = [ask(address) for address in ("ada", "ada", "ada", "grace", "linus", "alan")]
        await asyncio.sleep(0.01)
        at_once = [one.done() for one in asked]
        is_there = True
        assert await ask("ada"), "what is there needs no place"
        waiters.wake(["p1"])
        assert await asyncio.gather(*asked) == [not early for early in at_once]
        assert not waiters._addresses
        return at_once

    assert asyncio.run(waits()) == [False, False, True, False, False, True]
