"""Coroutines for tests of tasks."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["callbacks_ran", "fail", "started", "wait_for_ever"]


async def fail(message: str = "broken") -> None:
    """End with an error."""
    raise LookupError(message)


async def wait_for_ever() -> None:
    """End only when it is cancelled."""
    await asyncio.Event().wait()


async def started(coroutine: Any, name: str = "work") -> asyncio.Task[Any]:
    """A task that has taken its first step."""
    task = asyncio.create_task(coroutine, name=name)
    await asyncio.sleep(0)
    return task


async def callbacks_ran() -> None:
    """Return when the callbacks of tasks that are done have run."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
