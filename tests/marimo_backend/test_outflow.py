"""Credit for what has left for the page, by how much still waits for it."""

from __future__ import annotations

import asyncio

from mpkernel.marimo_backend.outflow import Outflow


class Page:
    """A page that has not taken so many messages."""

    def __init__(self) -> None:
        self.waiting = 0
        self.given: asyncio.Queue[int] = asyncio.Queue()
        self.outflow = Outflow(
            asyncio.get_running_loop(), lambda: self.waiting, self.given.put_nowait
        )

    async def credit(self) -> int:
        return await asyncio.wait_for(self.given.get(), 60)


async def test_what_has_left_is_credited_once() -> None:
    page = Page()
    page.outflow.sent(10)
    page.outflow.sent(20)
    assert await page.credit() == 30
    page.outflow.sent(5)
    assert await page.credit() == 5
    assert page.given.empty()


async def test_the_newest_messages_are_those_that_wait() -> None:
    page = Page()
    page.waiting = 2
    for size in (1, 20, 300, 4000):
        page.outflow.sent(size)
    assert await page.credit() == 21
    page.waiting = 1
    assert await page.credit() == 300
    page.waiting = 0
    assert await page.credit() == 4000


async def test_more_may_wait_than_came_from_the_kernel() -> None:
    page = Page()
    page.waiting = 1000
    page.outflow.sent(10)
    asyncio.get_running_loop().call_later(0.05, setattr, page, "waiting", 0)
    assert await page.credit() == 10


async def test_what_is_forgotten_is_not_credited() -> None:
    page = Page()
    page.waiting = 5
    page.outflow.sent(10)
    page.outflow.forget()
    page.waiting = 0
    page.outflow.sent(7)
    assert await page.credit() == 7
