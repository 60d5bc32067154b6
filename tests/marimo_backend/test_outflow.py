"""Credit for messages that the page has taken, counted by how many still wait for it."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.server.outflow import Outflow, telling_of_moves


@dataclasses.dataclass
class Timer:
    """A call that is made at its time unless it is cancelled."""

    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """As much of a loop as is used here; its time passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Timer]] = []

    def call_later(self, wait_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (self.now_s + wait_s, next(self._numbers), timer))
        return timer

    def pass_s(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            self.now_s, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                timer.call()
        self.now_s = end_s


class Page:
    """A page that has not taken so many messages, and what was given for those that it took."""

    def __init__(self, *, most_messages: int = 1000) -> None:
        self.clock = Clock()
        self.waiting = 0
        self.looks = 0
        self.given: list[int] = []
        self.calls: list[Callable[[], None]] = []
        self.outflow = Outflow(
            cast("asyncio.AbstractEventLoop", self.clock),
            self._look,
            self.given.append,
            self.calls.append,
            most_messages=most_messages,
        )

    def _look(self) -> int:
        self.looks += 1
        return self.waiting

    def take(self, *, left: int) -> None:
        """Take all but so many, as a page's connection tells it."""
        self.waiting = left
        for _ in range(len(self.calls)):
            self.calls.pop(0)()


def test_what_has_left_is_credited_once() -> None:
    page = Page()
    page.outflow.sent(10)
    page.outflow.sent(20)
    page.clock.pass_s(1)
    page.outflow.sent(5)
    page.clock.pass_s(1)
    assert page.given == [30, 5]


def test_the_newest_messages_are_those_that_wait() -> None:
    page = Page()
    page.waiting = 2
    for size in (1, 20, 300, 4000):
        page.outflow.sent(size)
    page.clock.pass_s(1)
    page.take(left=1)
    page.clock.pass_s(1)
    page.take(left=0)
    page.clock.pass_s(1)
    assert page.given == [21, 300, 4000]
    assert page.outflow.bytes_on_the_way == 0


def test_more_may_wait_than_came_from_the_kernel() -> None:
    page = Page()
    page.waiting = 1000
    page.outflow.sent(10)
    page.clock.pass_s(1)
    assert page.given == []
    page.take(left=0)
    page.clock.pass_s(1)
    assert page.given == [10]


def test_what_is_forgotten_is_not_credited() -> None:
    page = Page()
    page.waiting = 5
    page.outflow.sent(10)
    page.outflow.forget()
    page.waiting = 0
    page.outflow.sent(7)
    page.clock.pass_s(1)
    assert page.given == [7]


def test_a_page_that_moves_is_looked_at_within_ten_milliseconds_however_long_it_stood_still() -> (
    None
):
    page = Page()
    page.waiting = 1
    page.outflow.sent(10)
    page.clock.pass_s(1000.5)
    page.take(left=0)
    page.clock.pass_s(0.01)
    assert page.given == [10]


def test_a_page_that_stands_still_is_looked_at_once_a_second_and_found_when_nobody_tells() -> None:
    page = Page()
    page.waiting = 1
    page.outflow.sent(10)
    page.clock.pass_s(10)
    looks_before = page.looks
    page.clock.pass_s(100)
    assert page.looks - looks_before <= 100
    page.waiting = 0
    page.clock.pass_s(1)
    assert page.given == [10]
    page.clock.pass_s(100)
    assert page.looks - looks_before <= 102


def test_no_more_messages_wait_than_fit_into_the_window_however_small_they_are() -> None:
    page = Page(most_messages=3)
    page.waiting = 3
    for _ in range(3):
        page.outflow.sent(64)
    with pytest.raises(ProtocolError, match="3 messages wait for a page that does not read"):
        page.outflow.sent(64)
    page.take(left=2)
    page.clock.pass_s(1)
    page.outflow.sent(64)


async def test_a_page_with_room_for_many_messages_lets_the_loop_go_round_between_them() -> None:
    taken: list[Any] = []
    turns: list[int] = []
    moves: list[int] = []

    async def send(message: Any) -> None:
        taken.append(message)

    async def turn() -> None:
        while len(taken) < 1000:
            turns.append(len(taken))
            await asyncio.sleep(0)

    told = telling_of_moves(send, lambda: moves.append(len(taken)))
    turning = asyncio.create_task(turn())
    for number in range(1000):
        await told(number)
    await turning
    assert taken == list(range(1000))
    assert moves == list(range(1, 1001))
    assert max(after - before for before, after in itertools.pairwise(turns)) < 100
