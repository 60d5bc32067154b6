"""`PendingLease`: the search for a worker for one process, at the server."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Callable
from typing import Any

from mpkernel.dask_backend.far_process import FarProcess
from mpkernel.errors import ClusterError
from mpkernel.settings import Settings

__all__ = ["PendingLease"]


class PendingLease:
    """The search for one process. On the client's loop, except `hand_over` and `refuse`.

    Args:
        name: the app's name, as the scheduler's own pages show it.
        settings: the app's.
        workers: those on which it may run; None: on each.

    Attributes:
        process: the process.
        ticket: the secret of the task that was submitted last.
        future: that task; None when there is none.
        fitting: the workers on which it should run, if one of them has room; None: on each.
        unfit: the workers that were tried in vain.
        is_claimed: whether a worker has been dialled for it.
        over: set when the process is not needed any more, or was refused. From any thread.
        pumping: what moves the bytes of encrypted connections.
    """

    def __init__(self, name: str, settings: Settings, workers: list[str] | None) -> None:
        self.name = name.removeprefix("mpkernel ")
        self.resources = _resources_of(settings)
        self.process: FarProcess
        self.ticket = ""
        self.future: Any = None
        self.fitting = workers
        self.unfit: set[str] = set()
        self.is_claimed = False
        self.over = threading.Event()
        self.pumping: list[asyncio.Task[None]] = []

    def hand_over(self, socks: list[socket.socket], address: str) -> None:
        """The process is connected to its outpost, in the order of `ROLES`."""
        news, control, stream = socks
        claimed = functools.partial(self.process.claimed, news, control, stream, address)
        if not self._on_its_loop(claimed):
            for sock in socks:
                sock.close()

    def refuse(self, error: ClusterError) -> None:
        """The process will not be launched."""
        self.over.set()
        self._on_its_loop(functools.partial(self.process.refused, error))

    def _on_its_loop(self, call: Callable[[], None]) -> bool:
        try:
            self.process.loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed, and the pool with it
            return False
        return True


def _resources_of(settings: Settings) -> dict[str, float] | None:
    """What a worker must have for an app with these settings, as Dask counts it."""
    found = {}
    for one in settings.cluster_resources:
        name, _, count = one.partition("=")
        found[name] = float(count or 1)
    if settings.cluster_memory_bytes is not None:
        found["MEMORY"] = float(settings.cluster_memory_bytes)
    return found or None
