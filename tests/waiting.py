"""Waits for what no event tells of, such as what another process does. A test that can wait for an
event waits for that instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LONG_PATIENCE_S", "PATIENCE_S", "until", "until_async"]

T = TypeVar("T")

PATIENCE_S = 59
"""How long a test waits for what should come at once: what takes a second takes longer on a busy
machine. It is less than a minute, because then mpkernel's own limits (`start_timeout_s`,
`ping_timeout_s`, `restart_cool_down_s`) may end what hangs, and the test would not notice that."""

LONG_PATIENCE_S = 120
"""The same for what takes long: a page of a browser, packages that are installed, many deaths."""

_PAUSE_S = 0.005


def until(holds: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
    """Return what this gives, once it is true."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(_PAUSE_S)
    return found


async def until_async(holds: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
    """Return what this gives, once it is true. The loop goes on meanwhile."""
    async with asyncio.timeout(patience_s):
        while not (found := holds()):
            await asyncio.sleep(_PAUSE_S)
    return found
