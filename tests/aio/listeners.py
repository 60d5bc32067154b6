"""Receivers for tests, which keep what they are given."""

from __future__ import annotations

import asyncio
import threading
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from waiting import PATIENCE_S

PipeEnds: TypeAlias = "tuple[Connection[Any, Any], Connection[Any, Any]]"
"""The reading end and the writing end."""


class Received:
    """A consumer that can be waited for."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._news = asyncio.Event()

    def __call__(self, item: Any) -> None:
        self.items.append(item)
        self._news.set()

    async def count(self, count: int) -> list[Any]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.items) < count:
                self._news.clear()
                await self._news.wait()
        return self.items


class Stopped:
    """An ``on_stop`` that can be waited for, from the loop or from a thread."""

    def __init__(self) -> None:
        self.reasons: list[Exception | None] = []
        self._stopped = threading.Event()

    def __call__(self, reason: Exception | None) -> None:
        self.reasons.append(reason)
        self._stopped.set()

    async def wait(self) -> None:
        assert await asyncio.to_thread(self._stopped.wait, PATIENCE_S)

    def wait_in_thread(self) -> None:
        assert self._stopped.wait(PATIENCE_S)
