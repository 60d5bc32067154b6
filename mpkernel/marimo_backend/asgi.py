"""`create_asgi_app`: marimo's ASGI application, with each notebook in a process of its own.

    your server ─▶ your application ─▶ Starlette, with `KeptPool`'s lifespan
                                           └─▶ marimo's own for each notebook, with
                                               `IsolationMiddleware`

marimo builds the application. mpkernel adds three things: it is always isolated, libzmq is not
needed, and it has a lifespan. Where the server runs that lifespan, or a lifespan of yours does
(`app.router.lifespan_context(app)`), the first process warms up when the server starts, and the
server's end waits for cells that run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

from starlette.applications import Starlette

from mpkernel.aio.lifespans import Lifespan
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.among_workers import AmongWorkers
from mpkernel.marimo_backend.server.leaving import LEASES
from mpkernel.marimo_backend.server.shared_pool import (
    SANDBOX,
    PoolLease,
    pool_settings,
    shared_pool,
)
from mpkernel.marimo_backend.versions import check_marimo
from mpkernel.server.workers.same_server import common_secret, is_started_by_a_supervisor

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
    sandbox: bool = False,
) -> AsgiAppBuilder:
    """The same as `marimo.create_asgi_app`, with every notebook in a process of its own.

        notebooks = mpkernel.create_asgi_app().with_app(path="/sales", root="sales.py").build()
        app = FastAPI()
        app.mount("/notebooks", notebooks)

    All applications that one event loop serves share one pool of processes, wherever they are
    mounted. The pool starts with the first request; with the server if the server runs the result
    of `build()` itself.

    Args: marimo's own, with its defaults, and `sandbox`.
        quiet: marimo prints nothing.
        include_code: pages show the notebook's code.
        token: what a page must present to be let in. Default: nothing.
        skew_protection: refuse requests of pages that came from an earlier server process.
        session_ttl: how long, in seconds, the session of a closed tab is kept.
        asset_url: from where pages load marimo's files; may contain `{version}`. Default: from this
            server.
        redirect_console_to_browser: what cells print is shown on the page too.
        show_tracebacks: pages show the tracebacks of cells.
        html_head: HTML for the head of every page.
        execute_opengraph_generators: run the functions by which notebooks describe their pages.
            They run in the server's process.
        sandbox: notebooks with a header that names their packages (PEP 723) run in environments of
            their own; see `docs/sandboxes.md`. Default: as the setting `sandbox` says.

    Raises:
        UnsupportedMarimo: marimo is missing, or mpkernel does not support its version.
        MPKernelError: the environment says that mpkernel must leave marimo alone.
        SettingsError: the environment has a setting that is not valid.
        TypeError: the marimo that is installed does not have an option that is given.
    """
    options = {name: value for name, value in locals().items() if name != "sandbox"}
    defaults = create_asgi_app.__kwdefaults__ or {}
    given = {name: value for name, value in options.items() if value != defaults[name]}
    check_marimo()
    from mpkernel.marimo_backend import entrypoint

    entrypoint.install(instead="marimo.create_asgi_app")
    pool_settings()
    if is_started_by_a_supervisor():
        seam.sign_logins_with(common_secret("logins of marimo's pages"))
    with seam.passing_zmq_checks():
        return AsgiAppBuilder(seam.server("create_asgi_app")(**given), sandbox=sandbox)


class AsgiAppBuilder:
    """Takes what to serve under which path, then builds the application; works as marimo's builder.

    Args:
        builder: marimo's builder.
        sandbox: see `create_asgi_app`.
    """

    def __init__(self, builder: Any, *, sandbox: bool = False) -> None:
        self._builder = builder
        self._sandbox = sandbox

    def with_app(
        self, *, path: str, root: str, middleware: list[Callable[[Any], Any]] | None = None
    ) -> Self:
        """Serve a notebook.

        Args:
            path: under which path: "/sales", or "/" or "" for the root.
            root: the notebook's file.
            middleware: each is called with the application and returns the one to serve; the last
                one is the outermost.
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
        """Serve the notebooks of a folder: each that is there when a request asks for it.

        Args:
            path: under which path; not the root.
            directory: the folder.
            validate_callback: called with the notebook's path and the scope; returns whether it may
                be served. An exception that it raises decides the answer.
            middleware: see `with_app`.
        """
        self._builder = self._builder.with_dynamic_directory(
            path=path,
            directory=directory,
            validate_callback=validate_callback,
            middleware=middleware,
        )
        return self

    def build(self) -> Starlette:
        """The application, to be served or to be mounted in another. It is a Starlette application:
        you can add routes and middleware, and put a lifespan of yours around its own."""
        app = seam.as_starlette(self._builder.build())
        if all(middleware.cls is not _Telling for middleware in app.user_middleware):
            kept = KeptPool(app.router.lifespan_context)
            app.router.lifespan_context = kept
            app.add_middleware(_Telling, kept=kept, sandbox=self._sandbox)
            app.add_middleware(AmongWorkers, itself=app)
        return app


class KeptPool:
    """A lifespan around another one. It keeps the pool open until its end, and its end waits for
    cells that run. If several servers of one loop serve the application, each runs the lifespan;
    notebooks end with the last.

    Args:
        lifespan: the other one.
    """

    def __init__(self, lifespan: Lifespan[Starlette]) -> None:
        self._lifespan = lifespan
        self._on_loops: dict[asyncio.AbstractEventLoop, _Lifespans] = {}

    def __call__(self, app: Starlette) -> AbstractAsyncContextManager[object]:
        return self._around(app)

    def leases(self) -> list[PoolLease] | None:
        """The list to which notebooks add their leases; None if the running loop runs no
        lifespan."""
        lifespans = self._on_loops.get(asyncio.get_running_loop())
        return None if lifespans is None else lifespans.leases

    @asynccontextmanager
    async def _around(self, app: Starlette) -> AsyncIterator[object]:
        loop = asyncio.get_running_loop()
        own = PoolLease(shared_pool(anew=True))
        lifespans = self._on_loops.get(loop)
        if lifespans is None or not lifespans.running:
            lifespans = self._on_loops[loop] = _Lifespans()
        lifespans.begin(own)
        ending: list[PoolLease] | None = None
        try:
            async with self._lifespan(app) as state:
                try:
                    yield state
                finally:
                    ending = lifespans.end(own)
                    for lease in ending:
                        lease.begin_shutdown()
            for lease in ending:
                await lease.drained()
        finally:
            if ending is None:  # it could not begin
                ending = lifespans.end(own)
            for lease in ending:
                lease.shutdown()
            if not lifespans.running and self._on_loops.get(loop) is lifespans:
                del self._on_loops[loop]


class _Lifespans:
    """The lifespans of an application that run on one loop at the same time.

    Attributes:
        running: how many there are.
        leases: one for each, and those of notebooks.
    """

    def __init__(self) -> None:
        self.running = 0
        self.leases: list[PoolLease] = []

    def begin(self, own: PoolLease) -> None:
        """A lifespan begins, with a lease of its own."""
        self.running += 1
        self.leases.append(own)

    def end(self, own: PoolLease) -> list[PoolLease]:
        """A lifespan ends. Returns the leases that end with it: its own, and with the last lifespan
        those of notebooks."""
        self.running -= 1
        if not self.running:
            return self.leases
        self.leases.remove(own)
        return [own]


class _Telling:
    """Middleware that gives notebooks the list of leases of their lifespan, and says whether they
    run in environments of their own."""

    def __init__(self, app: AsgiApp, kept: KeptPool, sandbox: bool) -> None:
        self._app = app
        self._kept = kept
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leases = self._kept.leases() if scope["type"] != "lifespan" else None
        told: Scope = {**scope, SANDBOX: self._sandbox}
        await self._app(told if leases is None else {**told, LEASES: leases}, receive, send)
