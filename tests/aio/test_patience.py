"""How long a `PatientTimer` and a `patient_timeout` wait when their own process pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from mpkernel.aio.patience import PatientTimer, patient_timeout

DELAY_S = 60.0


class ALoop:
    """What a timer needs of a loop, with a clock that the test turns. It is its own handle."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due_at = float("inf")
        self._call: Callable[[], object] | None = None

    def call_later(self, delay_s: float, call: Callable[[], object]) -> ALoop:
        self._due_at, self._call = self.now + delay_s, call
        return self

    def cancel(self) -> None:
        self._due_at, self._call = float("inf"), None

    def time(self) -> float:
        return self.now

    def run_until(self, end: float) -> None:
        """Call what becomes due, each at its time."""
        while self._due_at <= end:
            self.now = max(self.now, self._due_at)
            call, self._due_at = self._call, float("inf")
            assert call is not None
            call()
        self.now = end

    def pause(self, seconds: float) -> None:
        """Let time go on without making any call."""
        self.now += seconds


def timer_on(loop: Any, delay_s: float = DELAY_S) -> tuple[PatientTimer, list[float]]:
    """A timer, and the times at which it made its call."""
    calls: list[float] = []
    return PatientTimer(loop, delay_s, lambda: calls.append(loop.now)), calls


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 1.0, DELAY_S])
def test_without_a_pause_it_calls_once_after_its_delay(delay_s: float) -> None:
    loop = ALoop()
    _, calls = timer_on(loop, delay_s)
    loop.run_until(10 * DELAY_S)
    assert calls == [pytest.approx(delay_s)]


@pytest.mark.parametrize("before_s", [0.0, 10.0, 30.0, 59.0])
@pytest.mark.parametrize("pause_s", [61.0, 3600.0])
def test_a_long_pause_does_not_count(before_s: float, pause_s: float) -> None:
    loop = ALoop()
    _, calls = timer_on(loop)
    loop.run_until(before_s)
    loop.pause(pause_s)
    loop.run_until(10 * pause_s)
    [called_at] = calls
    waited_s = called_at - pause_s
    assert DELAY_S <= waited_s <= DELAY_S * 1.25


def test_several_pauses_do_not_add_up() -> None:
    loop = ALoop()
    _, calls = timer_on(loop)
    for _ in range(10):
        loop.run_until(loop.now + 1.0)
        loop.pause(DELAY_S)
    assert calls == []


def test_a_loop_that_is_always_late_calls_all_the_same() -> None:
    loop = ALoop()
    _, calls = timer_on(loop)
    for _ in range(100):
        loop.pause(DELAY_S)
        loop.run_until(loop.now)
    assert len(calls) == 1


def test_a_loop_that_is_late_by_milliseconds_waits_no_longer_for_a_short_delay() -> None:
    loop = ALoop()
    _, calls = timer_on(loop, 0.004)
    for _ in range(4):
        loop.pause(0.05)
        loop.run_until(loop.now)
    assert len(calls) == 1


def test_one_that_is_cancelled_calls_nothing() -> None:
    loop = ALoop()
    timer, calls = timer_on(loop)
    loop.run_until(DELAY_S / 2)
    timer.cancel()
    timer.cancel()
    loop.run_until(10 * DELAY_S)
    assert calls == []


async def test_what_takes_too_long_is_cancelled() -> None:
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        async with patient_timeout(0.01):
            await never
    assert never.cancelled()


async def test_what_is_done_in_time_is_not_cancelled_later() -> None:
    async with patient_timeout(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_what_is_ready_after_a_pause_was_in_time() -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    async with patient_timeout(0.4):
        loop.call_later(0.5, ready.set)
        time.sleep(0.6)
        await ready.wait()
