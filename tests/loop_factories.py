"""The kinds of event loops. Tests that depend on the loop run on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOP_FACTORIES: dict[str, LoopFactory] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}

# libuv opens one pipe for signals with a process's first loop, and keeps it.
uvloop.new_event_loop().close()
