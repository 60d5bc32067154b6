"""The ASGI middleware that marimo loads by itself once mpkernel is installed.

A middleware runs however marimo is served; the lifespans of mounted applications do not. With the
first request it gives the application's session manager a lease on the pool, if the application is
one to isolate:

    marimo run of several notebooks, create_asgi_app      always
    mpkernel run                                          always (`isolate_single_notebooks`)
    marimo run of one notebook, marimo edit               never
    marimo run --sandbox=pixi                             never
    MPKERNEL_DISABLE=1                                    never
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.middleware import Middleware

from mpkernel.aio.broken_answers import leave_out_broken_answers
from mpkernel.errors import MPKernelError, UnsupportedMarimo
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.disabling import check_enabled, is_disabled
from mpkernel.marimo_backend.false_warning import leave_out_false_warning
from mpkernel.marimo_backend.server.arrivals import tell_to_reload
from mpkernel.marimo_backend.server.banner import showing_banners
from mpkernel.marimo_backend.server.browsers import naming_browsers
from mpkernel.marimo_backend.server.events import serve_events
from mpkernel.marimo_backend.server.file_answers import serve_file
from mpkernel.marimo_backend.server.leaving import LEASES, leave_in_order
from mpkernel.marimo_backend.server.outflow import telling_of_moves
from mpkernel.marimo_backend.server.reconnecting import (
    named_session_of,
    session_of,
    telling_of_reconnection,
)
from mpkernel.marimo_backend.server.registered_files import FILE_ROUTE, RegisteredFiles
from mpkernel.marimo_backend.server.shared_pool import SANDBOX, PoolLease, shared_pool
from mpkernel.marimo_backend.server.upload_progress import telling_of_progress
from mpkernel.marimo_backend.server.uploads import may_be_upload, taking_out_long_texts
from mpkernel.marimo_backend.versions import check_marimo

__all__ = [
    "IsolationMiddleware",
    "install",
    "isolate_single_notebooks",
    "middleware",
]

logger = logging.getLogger(__name__)

_NAME = "mpkernel"

_single_notebooks = False


def isolate_single_notebooks() -> None:
    """From now on, isolate applications of one notebook in this process, too."""
    global _single_notebooks
    _single_notebooks = True


def install(*, instead: str) -> None:
    """Have applications that marimo makes from now on load the middleware, whether the package is
    installed or only on `sys.path`.

    Args:
        instead: what serves without mpkernel; named in the error.

    Raises:
        MPKernelError: the environment says not to load it.
    """
    check_enabled(instead=instead)
    registry = seam.server("MIDDLEWARE_REGISTRY")
    registry.register(_NAME, middleware)
    if _NAME not in registry.names():
        raise MPKernelError(
            "the environment's list of middleware for marimo leaves mpkernel out",
            remedy=f"let it in, or use {instead}",
        )


class IsolationMiddleware:
    """Gives the application's session manager a lease on the pool, and serves its virtual files."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self._is_isolated: bool | None = False if is_disabled() or _refuses_marimo() else None
        self._lease: PoolLease | None = None
        if self._is_isolated is None:
            leave_out_false_warning()
            leave_out_broken_answers()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        lease = self._lease_for(scope)
        if lease is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and FILE_ROUTE in scope["path"]:
            await serve_file(self._app, lease.files, scope, receive, send)
        elif scope["type"] == "lifespan":
            await leave_in_order([lease], self._app, scope, receive, send)
        elif (session_id := session_of(scope)) is not None:
            await self._serve_page(lease, session_id, scope, receive, send)
        elif scope["type"] == "http":
            settings = lease.shared.hosts.settings
            session_id = named_session_of(scope)
            if session_id is not None and may_be_upload(scope):
                tell = functools.partial(lease.uploading, session_id)
                receive = telling_of_progress(scope, receive, tell)
            receive = taking_out_long_texts(scope, receive, max_bytes=settings.max_frame_bytes)
            if settings.session_store and settings.session_store_scope == "browser":
                send = naming_browsers(scope, send, ttl_s=settings.session_store_ttl_s)
            await self._app(scope, receive, showing_banners(send))
        else:
            async with lease.leaving.connection():
                await self._app(scope, receive, send)

    async def _serve_page(
        self, lease: PoolLease, session_id: str, scope: Any, receive: Any, send: Any
    ) -> None:
        """Let marimo serve a page's connection. The session learns when the page has taken a
        message, when it has connected again, and when it is gone."""
        arrivals = lease.arrivals
        if arrivals is not None and await arrivals.expect(session_id, scope):
            await tell_to_reload(session_id, scope, receive, send)
            return

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await self._app(scope, receive, send)
            finally:
                lease.page_moved(session_id)
                if arrivals is not None:
                    arrivals.forget(session_id)

        send = telling_of_reconnection(send, lambda: lease.page_is_back(session_id))
        send = telling_of_moves(send, lambda: lease.page_moved(session_id))
        if scope["type"] == "websocket":
            async with lease.leaving.connection():
                await app(scope, receive, send)
        else:
            timeout_s = lease.shared.hosts.settings.sse_stall_timeout_s
            await serve_events(
                app,
                scope,
                receive,
                send,
                stall_timeout_s=timeout_s,
                on_stall=lambda: lease.page_cut_off(session_id),
            )

    def _lease_for(self, scope: Any) -> PoolLease | None:
        """The lease on the pool of the running loop; None if the application is not isolated.
        Several loops may serve one application, at once or one after the other, and so may several
        lifespans on one loop."""
        if self._is_isolated is False:
            return None
        state = scope["app"].state
        manager = getattr(state, "session_manager", None)
        if manager is None:
            return None
        if self._is_isolated is None:
            self._is_isolated = _shall_be_isolated(manager, state)
        if not self._is_isolated:
            return None
        lease = self._lease
        if (
            lease is None
            or lease.shared.loop is not asyncio.get_running_loop()
            or lease not in scope.get(LEASES, [lease])  # that of an earlier lifespan
        ):
            lease = self._lease = self._take_lease(manager, scope)
        return lease

    def _take_lease(self, manager: Any, scope: Any) -> PoolLease:
        sandbox = seam.asks_for_sandboxes(manager) or scope.get(SANDBOX, False)
        lease = shared_pool().lease_for(manager, sandbox=sandbox)
        manager._app_host_pool = lease
        leases = scope.get(LEASES, [])
        if lease not in leases:
            leases.append(lease)
        if scope["type"] != "lifespan":
            lease.leaving.watch_signals()
        seam.server("VirtualFileStorageManager")().storage = RegisteredFiles(lease.files)
        logger.info("notebooks of this server are isolated by mpkernel")
        return lease


def _refuses_marimo() -> bool:
    try:
        check_marimo()
    except UnsupportedMarimo as error:
        logger.warning("mpkernel does not isolate the notebooks of this marimo: %s", error)
        return True
    return False


def _shall_be_isolated(manager: Any, state: Any) -> bool:
    if manager.mode is not seam.server("SessionMode").RUN:
        return False
    if seam.asks_for_sandboxes(manager) and seam.sandboxes_are_pixis():
        logger.warning(
            "this server was started with --sandbox=pixi, so it keeps marimo's own app hosts"
        )
        return False
    # `marimo run` tells its application on which port it listens. An ASGI application that is
    # mounted somewhere cannot know that.
    served_by_marimo = hasattr(state, "port")
    one_notebook = manager.workspace.get_unique_file_key() is not None
    return _single_notebooks or not served_by_marimo or not one_notebook


middleware = Middleware(IsolationMiddleware)
