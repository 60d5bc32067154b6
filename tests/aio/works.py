"""Work for background tasks to run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from waiting import PATIENCE_S

from mpkernel.aio import BackgroundTask


class Work:
    """Runs until it is cancelled, then cleans up for one turn of the loop."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancellations = 0
        self.cleaned_up = 0
        self.thread: threading.Thread | None = None

    async def __call__(self) -> None:
        self.starts += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancellations += 1
            raise
        finally:
            await asyncio.sleep(0)
            self.thread = threading.current_thread()
            self.cleaned_up += 1


class StubbornWork:
    """Answers each cancellation by going on, until it is released or a failed test forgets it."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.cancellations = 0

    async def __call__(self) -> None:
        while not self.release.is_set():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self.release.wait()
            except asyncio.CancelledError:
                self.cancellations += 1


async def started(
    work: Callable[[], Coroutine[Any, Any, None]], name: str = "work"
) -> BackgroundTask:
    background = BackgroundTask(work, name=name)
    background.start()
    await asyncio.sleep(0)
    return background
