"""The pool that marimo's session managers ask for app hosts by path: leases on one `HostPool`.

marimo's own pool (`marimo._session.app_host.pool`) defines the surface; none of its code runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import Any

from mpkernel.aio.loops import call_on_loop
from mpkernel.configuration.sources import Gathered, Sources, gather
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.app_host import AppHostAdapter
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.marimo_backend.leaving import Leaving
from mpkernel.marimo_backend.streams import distribute_on_the_loop
from mpkernel.server.pool import HostPool
from shm import Registry

__all__ = ["PoolLease", "pool_settings", "shared_pool", "use_sources"]

logger = logging.getLogger(__name__)


class SharedPool:
    """One `HostPool` for all apps that one event loop serves, and how many lease it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        distribute_on_the_loop()
        self.loop = loop
        gathered = pool_settings()
        self.hosts = HostPool(gathered.settings, rules=gathered.rules)
        self.hosts.start(stop=_end_server)
        self.leaving = Leaving(self.hosts)
        self.lock = threading.Lock()  # guards leases
        self.leases: set[PoolLease] = set()


_sources: Sources | None = None
_shared: SharedPool | None = None


def use_sources(sources: Sources) -> None:
    """Have pools that are made from now on look there for their settings. Default: the environment,
    and the `pyproject.toml` that is nearest to the current directory."""
    global _sources
    _sources = sources


def pool_settings() -> Gathered:
    """What a pool for marimo is made with.

    Raises:
        SettingsError: some source asks for what cannot be.
    """
    return gather(_sources or Sources(os.environ, os.getcwd()), DEFAULTS)


def shared_pool() -> SharedPool:
    """The pool of the running loop."""
    global _shared
    loop = asyncio.get_running_loop()
    if _shared is None or _shared.loop is not loop or _is_over(_shared):
        _shared = SharedPool(loop)
    return _shared


def _end_server() -> None:
    """As its supervisor would: all that is mounted in it leaves in order."""
    os.kill(os.getpid(), signal.SIGTERM)


def _is_over(shared: SharedPool) -> bool:
    """Whether the server goes on without this pool."""
    return shared.hosts.closed and not shared.leaving.begun


class PoolLease:
    """What a `SessionManager` holds as its pool. Several mounted apps lease the same one, and it
    is closed with the last of them. Names of sessions are a manager's own: two managers may serve
    one notebook, and what one says of a session's name is never said of the other's.

    Args:
        shared: the pool.
        manager: the session manager; None where the lease only keeps the pool open.
    """

    def __init__(self, shared: SharedPool, manager: Any = None) -> None:
        self.shared = shared
        self.manager = manager
        self._is_leaving = False
        self._ended = False
        self._lock = threading.Lock()  # guards _adapters
        self._adapters: dict[str, AppHostAdapter] = {}
        with shared.lock:
            shared.leases.add(self)

    def __bool__(self) -> bool:
        return True

    def get_or_create(self, file_path: str) -> AppHostAdapter:
        """The app host of a notebook; its process starts with the first kernel.

        Raises:
            KernelStartupError: (marimo's) the pool is shut down.
        """
        if self._ended:
            raise seam.server("KernelStartupError")("This server is shutting down.")
        path = os.path.abspath(file_path)
        with self._lock:
            adapter = self._adapters.get(path)
            if adapter is None:
                adapter = AppHostAdapter(path, self.shared, self.messages_waiting)
                self._adapters[path] = adapter
            return adapter

    def messages_waiting(self, session_id: str) -> int:
        """How many messages the slowest page of one of the manager's sessions has not taken."""
        return 0 if self.manager is None else seam.messages_waiting(self.manager, session_id)

    @property
    def files(self) -> Registry:
        """The virtual files of all notebooks of the pool."""
        return self.shared.hosts.files

    @property
    def leaving(self) -> Leaving:
        """The end of the server."""
        return self.shared.leaving

    def begin_shutdown(self) -> None:
        """The application is about to leave; where all are, so is the server."""
        self._is_leaving = True
        with self.shared.lock:
            all_leave = all(lease._is_leaving for lease in self.shared.leases)
        if all_leave:
            self.shared.leaving.begin()

    async def drained(self) -> None:
        """Where the server leaves, wait until every process has; then give the lease back."""
        if self.shared.leaving.begun:
            await self.shared.leaving.drained()
        self.shutdown()

    def shutdown(self) -> None:
        """Give the lease back; with the last, have every host leave. Idempotent."""
        if self._ended:
            return
        self._ended = True
        with self.shared.lock:
            self.shared.leases.discard(self)
            if self.shared.leases or self.shared.leaving.begun:
                return
        call_on_loop(self.shared.loop, self.shared.hosts.close_soon)
