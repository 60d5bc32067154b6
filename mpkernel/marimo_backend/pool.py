"""The surface that marimo's session manager asks for, over `HostPool`.

marimo asks its pool for an app host by path, and the app host for kernels, on its event loop's
thread and from others. Every entry here returns at once; what goes wrong later reaches the page
through the session's own stream.

marimo's own pool and host (`marimo._session.app_host`) define the surface; none of their code runs.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import pickle
import queue
import threading
from typing import Any

import msgspec

from mpkernel.aio.loops import running_loop
from mpkernel.aio.signals import ending_signals
from mpkernel.errors import HostUnresponsive, MPKernelError, ProtocolError, SessionClosed
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.journal import MarimoJournal
from mpkernel.marimo_backend.session import MarimoSession
from mpkernel.server.app import App
from mpkernel.server.pool import HostPool
from mpkernel.settings import Settings, from_environment
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel
from shm import Registry

__all__ = ["AppHostAdapter", "PoolLease", "keep_standbys", "pool_settings", "shared_pool"]

logger = logging.getLogger(__name__)

_ENTRY = "mpkernel.marimo_backend.kernel:run"

_UI_ELEMENT = b"ui_element"
"""marimo's second way for what it sends as control too: the host makes its own of that."""

_CHANNELS = {
    b"control": Channel.CONTROL,
    b"completion": Channel.COMPLETION,
    b"input": Channel.INPUT,
}


class _SharedPool:
    """One `HostPool` for all apps that one event loop serves, and how many lease it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.hosts = HostPool(pool_settings())
        self.hosts.standby.start()
        self.lock = threading.Lock()  # guards adapters and leases
        self.adapters: dict[str, AppHostAdapter] = {}
        self.leases = 0
        self.is_leaving = False


_DEFAULTS = Settings(standby=1, standby_imports=("mpkernel.marimo_backend.warm",))
_standbys: int | None = None
_shared: _SharedPool | None = None


def keep_standbys(count: int) -> None:
    """Have pools that are made from now on keep this many warm processes. Default: 1, or what the
    environment says.

    Raises:
        SettingsError: it is negative.
    """
    global _standbys
    msgspec.structs.replace(_DEFAULTS, standby=count)
    _standbys = count


def pool_settings() -> Settings:
    """What a pool for marimo is made with.

    Raises:
        SettingsError: the environment asks for what cannot be.
    """
    settings = from_environment(os.environ, _DEFAULTS)
    return settings if _standbys is None else msgspec.structs.replace(settings, standby=_standbys)


def shared_pool() -> _SharedPool:
    """The pool of the running loop."""
    global _shared
    loop = asyncio.get_running_loop()
    if _shared is None or _shared.loop is not loop or _shared.hosts.closed:
        _shared = _SharedPool(loop)
    return _shared


class PoolLease:
    """What a `SessionManager` holds as its pool. Several mounted apps lease the same one, and it
    is closed with the last of them."""

    def __init__(self, shared: _SharedPool) -> None:
        self.shared = shared
        self._ended = False
        with shared.lock:
            shared.leases += 1

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
        with self.shared.lock:
            adapter = self.shared.adapters.get(path)
            if adapter is None:
                adapter = self.shared.adapters[path] = AppHostAdapter(path, self.shared)
            return adapter

    @property
    def files(self) -> Registry:
        """The virtual files of all notebooks of the pool."""
        return self.shared.hosts.files

    def begin_shutdown(self) -> None:
        """The server is about to leave: sessions that it closes may finish what they run."""
        self.shared.is_leaving = True

    async def drained(self) -> None:
        """Wait until every process has left, and no longer than `Settings.drain_grace_s` for the
        commands that run; a further signal ends them at once."""
        with ending_signals() as again:
            await self.shared.hosts.drain(at_once=again)

    def shutdown(self) -> None:
        """Give the lease back; with the last, have every host leave. Idempotent."""
        if self._ended:
            return
        self._ended = True
        with self.shared.lock:
            self.shared.leases -= 1
            if self.shared.leases or self.shared.is_leaving:
                return
        _call_on(self.shared.loop, self.shared.hosts.close_soon)


class AppHostAdapter:
    """marimo's `AppHost`, for one notebook file: it stays while processes come and go."""

    def __init__(self, app: str, shared: _SharedPool) -> None:
        self._app = app
        self._shared = shared
        self._lock = threading.Lock()  # guards all below
        self._sessions: dict[str, MarimoSession] = {}
        self._queues: dict[str, queue.Queue[bytes | None]] = {}
        self._owner: App | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        hosts = self._owner.hosts if self._owner is not None else []
        return hosts[0].pid if hosts else None

    def start(self) -> None:
        """Nothing: the process starts with the first kernel."""

    def is_alive(self) -> bool:
        """Whether kernels can be created: always, the process is started when there is none."""
        return True

    def register_stream(self, session_id: str, stream: queue.Queue[bytes | None]) -> None:
        """Have the kernel's messages for a session put into `stream`."""
        with self._lock:
            self._queues[session_id] = stream

    def unregister_stream(self, session_id: str) -> None:
        """Drop a session's messages from now on."""
        with self._lock:
            self._queues.pop(session_id, None)
            session = self._sessions.get(session_id)
        if session is not None:
            session.stream = None

    def create_kernel(
        self, session_id: str, *, app_metadata: Any, log_level: int, **arguments: Any
    ) -> Any:
        """Start a kernel for a session; returns (marimo's) `KernelCreatedResponse` at once.

        Raises:
            KernelStartupError: (marimo's) no process could be launched, or the app died too often.
        """
        arguments |= {"app_metadata": app_metadata, "log_level": log_level}
        kernel = KernelSpec(
            entry=_ENTRY,
            args=pickle.dumps(arguments, pickle.HIGHEST_PROTOCOL),
            argv=tuple(app_metadata.argv or ()),
        )
        try:
            _result_on(self._shared.loop, lambda: self._open(session_id, kernel, arguments))
        except MPKernelError as error:
            self.stop_kernel(session_id)
            logger.warning("no kernel could be created: %s app=%s", error, self._app)
            raise seam.server("KernelStartupError")(str(error)) from error
        return seam.server("KernelCreatedResponse")(session_id=session_id, success=True)

    def _open(self, session_id: str, kernel: KernelSpec, arguments: dict[str, Any]) -> None:
        owner = self._shared.hosts.app(self._app, kernel)
        journal = MarimoJournal(kernel, arguments, max_bytes=owner.settings.journal_bytes)
        with self._lock:
            session = MarimoSession(owner, session_id, self._queues.get(session_id), journal)
            self._sessions[session_id] = session
            self._owner = owner
        owner.open(session, kernel)

    def stop_kernel(self, session_id: str) -> None:
        """End a session's kernel; returns at once."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
            self._queues.pop(session_id, None)
        if session is not None:
            session.stream = None
            leaving = self._shared.is_leaving
            session.stop(patience_s=self._shared.hosts.settings.drain_grace_s if leaving else 0.0)

    def send_command(self, session_id: str, channel: Any, payload: object) -> None:
        """Send a command to a session's kernel. A refused one becomes an alert on the page."""
        if channel.value == _UI_ELEMENT:
            return
        session = self._sessions.get(session_id)
        if session is None:
            logger.debug("a command for no session app=%s session=%s", self._app, session_id)
            return
        try:
            pickled = pickle.dumps(payload, pickle.HIGHEST_PROTOCOL)
            session.send(_CHANNELS[channel.value], pickled, command=payload)
        except SessionClosed as error:
            logger.debug("a command came too late: %s", error)
        except (HostUnresponsive, ProtocolError) as error:
            logger.warning("command refused: %s app=%s session=%s", error, self._app, session_id)
            session.notify(
                "AlertNotification",
                title="Not sent to the app",
                description=html.escape(str(error)),
                variant="danger",
            )

    def has_active_session(self, session_id: str) -> bool:
        """Whether a session's kernel runs, or is about to."""
        session = self._sessions.get(session_id)
        return session is not None and not session.over

    def shutdown(self) -> None:
        """End this app's process."""
        if self._owner is not None:
            _call_on(self._shared.loop, self._owner.leave)


def _call_on(loop: asyncio.AbstractEventLoop, call: Any) -> None:
    """Call on the loop's thread: now if this is it, else soon. Not at all on a closed loop: then
    the server is leaving, and its exit kills what is left."""
    if running_loop() is loop:
        call()
    elif not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _result_on(loop: asyncio.AbstractEventLoop, call: Any) -> Any:
    """The same, waiting for the result."""
    if running_loop() is loop:
        return call()

    async def on_loop() -> Any:
        return call()

    return asyncio.run_coroutine_threadsafe(on_loop(), loop).result()
