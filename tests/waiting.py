"""Waits for what no event tells of, such as what another process does. A test that can wait for an
event waits for that instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["until", "until_async"]

T = TypeVar("T")

_PATIENCE_S = 30.0
_PAUSE_S = 0.005


def until(holds: Callable[[], T], *, patience_s: float = _PATIENCE_S) -> T:
    """Return what this gives, once it is true."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(_PAUSE_S)
    return found


async def until_async(holds: Callable[[], T], *, patience_s: float = _PATIENCE_S) -> T:
    """Return what this gives, once it is true. The loop goes on meanwhile."""
    async with asyncio.timeout(patience_s):
        while not (found := holds()):
            await asyncio.sleep(_PAUSE_S)
    return found
