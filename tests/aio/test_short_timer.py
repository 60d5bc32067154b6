"""A timer of less than a millisecond calls once, late enough, and not after its end."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from waiting import PATIENCE_S

from mpkernel.aio.short_timer import ShortTimer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is a descriptor of Linux")


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_it_calls_once_and_not_before_the_time() -> None:
    calls: list[float] = []
    called = asyncio.Event()

    def call() -> None:
        calls.append(time.monotonic())
        called.set()

    timer = ShortTimer(asyncio.get_running_loop(), call)
    try:
        for delay_s in (0.0, 0.0002, 0.0015):
            called.clear()
            began = time.monotonic()
            timer.start(delay_s)
            await asyncio.wait_for(called.wait(), PATIENCE_S)
            assert calls[-1] - began >= delay_s
        assert len(calls) == 3
    finally:
        timer.close()


async def test_a_new_start_replaces_the_one_before() -> None:
    called = asyncio.Event()
    timer = ShortTimer(asyncio.get_running_loop(), called.set)
    try:
        timer.start(3600.0)
        timer.start(0.0001)
        await asyncio.wait_for(called.wait(), PATIENCE_S)
    finally:
        timer.close()


async def test_it_calls_nothing_after_its_end_and_keeps_no_descriptor() -> None:
    loop = asyncio.get_running_loop()
    descriptors = len(os.listdir("/proc/self/fd"))
    calls: list[None] = []
    timer = ShortTimer(loop, lambda: calls.append(None))
    timer.start(0.0)
    timer.close()
    timer.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    reached = asyncio.Event()
    later = ShortTimer(loop, reached.set)
    try:
        later.start(0.001)
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
    finally:
        later.close()
    assert not calls


async def test_without_a_descriptor_there_is_no_timer() -> None:
    loop = asyncio.get_running_loop()
    with no_more_descriptors(), pytest.raises(OSError, match="Too many open files"):
        ShortTimer(loop, list)
