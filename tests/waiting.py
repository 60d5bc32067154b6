"""Waits for what no event tells of, such as what another process does. A test that can wait for an
event waits for that instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE_S", "until", "until_async"]

T = TypeVar("T")

PATIENCE_S = 120
"""How long a test waits for what should come at once. The limit only serves to say which wait does
not end: a machine that is busy with other programs may need a minute for what takes a second."""

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
