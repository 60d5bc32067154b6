"""The pool that marimo's session managers ask for app hosts by path: leases on one `HostPool`.

The methods are those of marimo's own pool (`marimo._session.app_host.pool`); none of its code runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from mpkernel.aio.loops import call_on_loop, running_loop
from mpkernel.configuration.sources import Gathered, Sources, gather
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.marimo_backend.server.app_host import AppHostAdapter
from mpkernel.marimo_backend.server.arrivals import Arrival, Arrivals
from mpkernel.marimo_backend.server.leaving import Leaving
from mpkernel.marimo_backend.server.page_stream import distribute_on_the_loop
from mpkernel.server.pool import HostPool
from mpkernel.server.workers.serving import AsgiApp
from mpkernel.server.workers.worker import Worker
from shm import Registry

__all__ = ["SANDBOX", "PoolLease", "SharedPool", "pool_settings", "shared_pool", "use_sources"]

logger = logging.getLogger(__name__)

SANDBOX = "mpkernel.sandbox"
"""The key in a scope that says whether notebooks with a header run in environments of their own."""


class SharedPool:
    """One `HostPool` for all apps that one event loop serves, with the number of its leases. It is
    closed with its loop at the latest: a test client, for example, runs a new loop each time.

    Attributes:
        loop: the event loop.
        hosts: the pool.
        leaving: whether and when the server ends.
        worker: this process as one of several of its server; None if it is not, or before the first
            request. `among_workers` finds that out, and sets it and the next three.
        is_alone: whether it is known not to be one of several.
        finding_workers: held while that is found out.
        handed_apps: what serves the requests that other workers hand over, by the path where it is
            mounted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        distribute_on_the_loop()
        seam.keep_message_decoder()
        seam.parse_again_if_disturbed()
        self.loop = loop
        gathered = pool_settings()
        self.hosts = HostPool(gathered.settings, rules=gathered.rules)
        self.hosts.start(stop=_end_server, last=self._end_with_loop)
        self.leaving = Leaving(self.hosts)
        self.worker: Worker | None = None
        self.is_alone = False
        self.finding_workers = asyncio.Lock()
        self.handed_apps: dict[str, AsgiApp] = {}
        self.lock = threading.Lock()  # guards leases
        self.leases: set[PoolLease] = set()

    def lease_for(self, manager: Any, *, sandbox: bool = False) -> PoolLease:
        """The lease of a session manager. On the loop's thread.

        Args:
            manager: the session manager.
            sandbox: see `PoolLease`; counts for a new lease.
        """
        with self.lock:
            found = next((lease for lease in self.leases if lease.manager is manager), None)
        return found if found is not None else PoolLease(self, manager, sandbox=sandbox)

    def has_session(self, session_id: str) -> bool:
        """Whether a session manager has a session of this name that has not ended."""
        with self.lock:
            managers = [lease.manager for lease in self.leases]
        return any(one is not None and one.get_session(session_id) is not None for one in managers)

    async def _end_with_loop(self) -> None:
        """Called when the loop is shut down and nothing has announced the end of the server.

        On the main thread this is the end of a server (a worker of hypercorn, which gets no
        signal): cells that run are finished. On another thread it is the end of a test client:
        they are interrupted. Sessions are ended in marimo, too: the program may serve the
        application on another loop, and they would wait there for ever.
        """
        self.leaving.unwatch_signals()
        if threading.current_thread() is threading.main_thread():
            self.leaving.begin()
        with self.lock:
            leases = list(self.leases)
        try:
            for lease in leases:
                lease.end_sessions()
                lease.shutdown()
            if self.leaving.begun:
                await self.leaving.drained()
        finally:
            await self.hosts.close()
            if self.worker is not None:
                await self.worker.close()
            with _lock:
                _shared.pop(self.loop, None)


_KEPT_ADAPTERS = 64

_sources: Sources | None = None
_lock = threading.Lock()  # guards _shared
_shared: dict[asyncio.AbstractEventLoop, SharedPool] = {}


def use_sources(sources: Sources) -> None:
    """Have pools that are made from now on take their settings from `sources`. Default: the
    environment, and the `pyproject.toml` that is nearest to the current directory."""
    global _sources
    _sources = sources


def pool_settings() -> Gathered:
    """The settings for a pool for marimo.

    Raises:
        SettingsError: a source has a setting that is not valid.
    """
    return gather(_sources or Sources(os.environ, os.getcwd()), DEFAULTS)


def shared_pool(*, anew: bool = False) -> SharedPool:
    """The pool of the running loop.

    Args:
        anew: a lifespan begins. A pool that the end of an earlier lifespan has closed is replaced.
            Default: it is not, as the server ends; a pool that was closed otherwise is.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        for closed in [other for other in _shared if other.is_closed()]:
            del _shared[closed]
        shared = _shared.get(loop)
    if shared is not None and shared.hosts.closed and (anew or not shared.leaving.begun):
        shared.leaving.unwatch_signals()
        shared = None
    if shared is None:
        shared = SharedPool(loop)
        with _lock:
            _shared[loop] = shared
    return shared


def _end_server() -> None:
    """Ask the server to end, as its supervisor would: all that is mounted in it ends in order."""
    os.kill(os.getpid(), signal.SIGTERM)


class PoolLease:
    """The pool of one of marimo's `SessionManager`s. Several mounted apps lease the same pool, and
    it is closed with the last lease. Each manager has its own names of sessions: two managers may
    serve one notebook, and a session of one is never taken for a session of the other.

    Args:
        shared: the pool.
        manager: the session manager; None if the lease only keeps the pool open.
        sandbox: whether notebooks with a header run in environments of their own, whatever the
            setting `sandbox` says.

    Attributes:
        shared, manager: as given.
        arrivals: pages that connect with sessions that the manager does not have.
    """

    def __init__(self, shared: SharedPool, manager: Any = None, *, sandbox: bool = False) -> None:
        self.shared = shared
        self.manager = manager
        self._sandbox = sandbox
        self._is_leaving = False
        self._ended = False
        self._lock = threading.Lock()  # guards _adapters
        self._adapters: dict[str, AppHostAdapter] = {}
        self._most_adapters = _KEPT_ADAPTERS  # if there are more, idle ones are dropped
        self.arrivals = None if manager is None else _arrivals(shared, manager)
        self._when_moved: dict[str, Callable[[], None]] = {}  # by session; on the loop's thread
        with shared.lock:
            shared.leases.add(self)

    def __bool__(self) -> bool:
        return True

    def get_or_create(self, file_path: str) -> AppHostAdapter:
        """The app host of a notebook. Its process starts with the first kernel.

        marimo's session manager holds one lease. If several loops serve one application, each loop
        gets its own app hosts.

        Raises:
            KernelStartupError: (marimo's) the pool is shut down.
        """
        if running_loop() not in (None, self.shared.loop):
            lease = shared_pool().lease_for(self.manager, sandbox=self._sandbox)
            return lease.get_or_create(file_path)
        if self._ended:
            raise seam.server("KernelStartupError")("This server is shutting down.")
        path = os.path.abspath(file_path)
        with self._lock:
            adapter = self._adapters.get(path)
            if adapter is None:
                self._forget_idle_adapters()
                adapter = AppHostAdapter(path, self.shared, self, sandbox=self._sandbox)
                self._adapters[path] = adapter
            return adapter

    def _forget_idle_adapters(self) -> None:
        """Under the lock. Otherwise notebooks that are made and served only once would
        accumulate."""
        if len(self._adapters) < self._most_adapters:
            return
        self._adapters = {path: one for path, one in self._adapters.items() if not one.is_idle}
        self._most_adapters = max(_KEPT_ADAPTERS, 2 * len(self._adapters))

    def page_is_back(self, session_id: str) -> None:
        """The page of one of the manager's sessions has connected again. On the loop's thread."""
        with self._lock:
            adapters = list(self._adapters.values())
        for adapter in adapters:
            adapter.page_is_back(session_id)

    def page_cut_off(self, session_id: str) -> None:
        """Messages that waited for the page of one of the manager's sessions are lost. On the
        loop's thread."""
        with self._lock:
            adapters = list(self._adapters.values())
        for adapter in adapters:
            adapter.page_cut_off(session_id)

    def uploading(self, session_id: str, text: str) -> None:
        """Tell the page of one of the manager's sessions how far its upload is; "": it is over. On
        the loop's thread."""
        with self._lock:
            adapters = list(self._adapters.values())
        for adapter in adapters:
            adapter.uploading(session_id, text)

    def arrival(self, session_id: str) -> Arrival | None:
        """What is stored of one of the manager's sessions that a page is about to open."""
        return None if self.arrivals is None else self.arrivals.get(session_id)

    def loaded(self, app: str, cells: str, since: float) -> None:
        """See `Arrivals.loaded`."""
        if self.arrivals is not None:
            self.arrivals.loaded(app, cells, since)

    def is_edited(self, session_id: str, app: str, cells: str) -> bool:
        """See `Arrivals.is_edited`."""
        return self.arrivals is not None and self.arrivals.is_edited(session_id, app, cells)

    def hold(self, key: str, app: str, content: bytes, why: str) -> None:
        """See `Arrivals.hold`."""
        if self.arrivals is not None:
            self.arrivals.hold(key, app, content, why)

    def when_moved(self, session_id: str, call: Callable[[], None]) -> None:
        """Have `call` called once, when a page of one of the manager's sessions has taken a
        message, or is gone. A later `call` for the session replaces this one. On the loop's
        thread."""
        self._when_moved[session_id] = call

    def page_moved(self, session_id: str) -> None:
        """A page of one of the manager's sessions has taken a message, or is gone. On the loop's
        thread."""
        if self._when_moved and (call := self._when_moved.pop(session_id, None)) is not None:
            call()

    def has_page(self, session_id: str) -> bool:
        """Whether a page of one of the manager's sessions is connected."""
        return self.manager is not None and seam.has_page(self.manager, session_id)

    def show_again(self, session_id: str) -> None:
        """Send a session's page all that it shows now."""
        if self.manager is not None:
            seam.show_again(self.manager, session_id)

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
        """The application is about to end. When all applications are, the server is."""
        self._is_leaving = True
        with self.shared.lock:
            all_leave = all(lease._is_leaving for lease in self.shared.leases)
        if all_leave:
            self.shared.leaving.begin()

    async def drained(self) -> None:
        """If the server ends, wait until every process has ended; then give the lease back."""
        if self.shared.leaving.begun:
            await self.shared.leaving.drained()
        self.shutdown()

    def end_sessions(self) -> None:
        """The loop is shut down: have marimo's session manager end the sessions of this loop."""
        if self.manager is None:
            return
        with self._lock:
            adapters = list(self._adapters.values())
        for session_id in seam.sessions_of(self.manager, adapters):
            self.manager.close_session(session_id)

    def shutdown(self) -> None:
        """Give the lease back. With the last lease, every host ends. Idempotent."""
        if self._ended:
            return
        self._ended = True
        with self.shared.lock:
            self.shared.leases.discard(self)
            if self.shared.leases or self.shared.leaving.begun:
                return
        call_on_loop(self.shared.loop, self.shared.hosts.close_soon)


def _arrivals(shared: SharedPool, manager: Any) -> Arrivals:
    by_browser = shared.hosts.settings.session_store_scope == "browser"
    return Arrivals(shared.hosts.stored, manager, by_browser=by_browser)
