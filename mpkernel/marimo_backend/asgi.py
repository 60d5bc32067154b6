"""`create_asgi_app`: marimo's ASGI application, each notebook of it in a process of its own.

    your server ─▶ your application ─▶ Starlette, with `KeptPool`'s lifespan
                                           └─▶ marimo's own for each notebook, with
                                               `IsolationMiddleware`

marimo builds it; what is ours is that it is always isolated, that libzmq is not asked for, and the
lifespan. Where the server runs it, or a lifespan of yours (`app.router.lifespan_context(app)`), the
first process warms up when the server starts, and its end waits for cells that run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

from starlette.applications import Starlette

from mpkernel.aio.lifespans import Lifespan
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.leaving import LEASES
from mpkernel.marimo_backend.server.shared_pool import PoolLease, pool_settings, shared_pool

__all__ = ["AsgiAppBuilder", "KeptPool", "create_asgi_app"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def create_asgi_app(
    *,
    quiet: bool = False,
    include_code: bool = False,
    token: str | None = None,
    skew_protection: bool = False,
    session_ttl: int = 120,
    asset_url: str | None = None,
    redirect_console_to_browser: bool = False,
    show_tracebacks: bool = False,
    html_head: str | None = None,
    execute_opengraph_generators: bool = False,
) -> AsgiAppBuilder:
    """What `marimo.create_asgi_app` is, with every notebook in a process of its own.

        notebooks = mpkernel.create_asgi_app().with_app(path="/sales", root="sales.py").build()
        app = FastAPI()
        app.mount("/notebooks", notebooks)

    All applications that one event loop serves share one pool of processes, whoever mounts them. It
    starts with the first request, or with the server where `build()` is what the server runs.

    Args: marimo's own, with its defaults.
        quiet: marimo prints nothing.
        include_code: pages show the notebook's code.
        token: what a page has to give to be let in. Default: nothing.
        skew_protection: refuse requests of pages that an earlier server process made.
        session_ttl: how long, in seconds, the session of a closed tab is kept.
        asset_url: where pages load marimo's files from; may contain `{version}`. Default: here.
        redirect_console_to_browser: what cells print is shown on the page too.
        show_tracebacks: pages show the tracebacks of cells.
        html_head: put into the head of every page.
        execute_opengraph_generators: run the functions of notebooks that describe their pages; in
            this process.

    Raises:
        UnsupportedMarimo: marimo is missing, or not one that mpkernel supports.
        MPKernelError: the environment says that mpkernel must leave marimo alone.
        SettingsError: the environment asks for what cannot be.
        TypeError: the marimo that is installed does not have an option that is given.
    """
    options = locals()
    defaults = create_asgi_app.__kwdefaults__ or {}
    given = {name: value for name, value in options.items() if value != defaults[name]}
    seam.check_marimo()
    from mpkernel.marimo_backend import entrypoint

    entrypoint.install(instead="marimo.create_asgi_app")
    pool_settings()
    with seam.passing_zmq_checks():
        return AsgiAppBuilder(seam.server("create_asgi_app")(**given))


class AsgiAppBuilder:
    """Says what to serve where, then builds the application: marimo's builder, with its rules.

    Args:
        builder: marimo's.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def with_app(
        self, *, path: str, root: str, middleware: list[Callable[[Any], Any]] | None = None
    ) -> Self:
        """Serve a notebook.

        Args:
            path: where: "/sales", or "/" or "" for the root.
            root: the notebook's file.
            middleware: each is called with the application and gives the one that is served, the
                last outermost.
        """
        self._builder = self._builder.with_app(path=path, root=root, middleware=middleware)
        return self

    def with_dynamic_directory(
        self,
        *,
        path: str,
        directory: str,
        validate_callback: Callable[[str, Any], Awaitable[bool] | bool] | None = None,
        middleware: list[Callable[[Any], Any]] | None = None,
    ) -> Self:
        """Serve each notebook that is in a folder when it is asked for.

        Args:
            path: where; not the root.
            directory: the folder.
            validate_callback: called with the notebook's path and the scope; whether it may be
                served. What it raises is the answer.
            middleware: as `with_app`.
        """
        self._builder = self._builder.with_dynamic_directory(
            path=path,
            directory=directory,
            validate_callback=validate_callback,
            middleware=middleware,
        )
        return self

    def build(self) -> Starlette:
        """The application: to be served, or mounted in another. It is Starlette's, so that it takes
        more routes and middleware, and a lifespan of yours around its own."""
        app = seam.as_starlette(self._builder.build())
        if all(middleware.cls is not _Telling for middleware in app.user_middleware):
            kept = KeptPool(app.router.lifespan_context)
            app.router.lifespan_context = kept
            app.add_middleware(_Telling, kept=kept)
        return app


class KeptPool:
    """A lifespan around another one: keeps the pool from its beginning to its end, which waits for
    cells that run.

    Args:
        lifespan: the other one.
    """

    def __init__(self, lifespan: Lifespan[Starlette]) -> None:
        self._lifespan = lifespan
        # Of each loop on which the lifespan is run.
        self._leases: dict[asyncio.AbstractEventLoop, list[PoolLease]] = {}

    def __call__(self, app: Starlette) -> AbstractAsyncContextManager[object]:
        return self._around(app)

    def leases(self) -> list[PoolLease] | None:
        """Where notebooks add their leases; None where the running loop runs no lifespan."""
        return self._leases.get(asyncio.get_running_loop())

    @asynccontextmanager
    async def _around(self, app: Starlette) -> AsyncIterator[object]:
        loop = asyncio.get_running_loop()
        leases = self._leases[loop] = [PoolLease(shared_pool())]
        try:
            async with self._lifespan(app) as state:
                try:
                    yield state
                finally:
                    for lease in leases:
                        lease.begin_shutdown()
            for lease in leases:
                await lease.drained()
        finally:
            for lease in leases:
                lease.shutdown()
            del self._leases[loop]


class _Telling:
    """Middleware that tells notebooks of the lifespan which they are part of."""

    def __init__(self, app: AsgiApp, kept: KeptPool) -> None:
        self._app = app
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leases = self._kept.leases() if scope["type"] != "lifespan" else None
        await self._app(scope if leases is None else {**scope, LEASES: leases}, receive, send)
