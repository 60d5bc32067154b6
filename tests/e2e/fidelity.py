"""What the fidelity tests share: features, and what is seen of them with each backend.

A feature is a notebook and a check that drives its page. The check asserts what the feature is for,
and returns an outcome: what was seen, which has to be the same whatever the backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from dask_backend.apart import shared_folder
from dask_backend.machines import TEMPORARY
from e2e.fidelity_backends import ALONE, Backend
from e2e.fidelity_cluster import cluster
from e2e.harness import NOTEBOOKS, Server
from e2e.page_record import PageRecord
from e2e.profiles import profile
from e2e.test_serving import hosts_of
from playwright.async_api import Browser, BrowserContext, Page

__all__ = ["Feature", "Outcomes", "Visit"]

_COPY = re.compile(rf"{re.escape(TEMPORARY)}/mpk-[^/]+/")
"""What the path of a folder begins with that a worker was sent."""


class Visit:
    """What a check is given: a served folder of notebooks and a browser to look at them.

    Attributes:
        server: the server.
        folder: what it serves: a copy of the fidelity notebooks, which the check may change.
        common: a folder where the notebook may write what the check reads.
    """

    def __init__(
        self, server: Server, folder: Path, notebook: str, context: BrowserContext, common: Path
    ) -> None:
        self.server = server
        self.folder = folder
        self.common = common
        self.path = folder / f"{notebook}.py"
        self._context = context
        self._stack = contextlib.AsyncExitStack()
        self._records: list[PageRecord] = []

    async def __aenter__(self) -> Visit:
        return self

    async def __aexit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            for record in self._records:
                print(await record.text())
        await self._stack.aclose()

    def url(self, base: str = "/", **query: str | Sequence[str]) -> str:
        """The URL of the notebook's page."""
        parameters = urlencode({"file": str(self.path), **query}, doseq=True)
        return f"{self.server.url}{base}?{parameters}"

    async def page(self) -> Page:
        """An empty tab of the shared profile."""
        page = await self._context.new_page()
        self._stack.push_async_callback(page.close)
        self._records.append(PageRecord(page))
        return page

    async def open(self, **query: str | Sequence[str]) -> Page:
        """A tab with the notebook."""
        page = await self.page()
        await page.goto(self.url(**query), wait_until="commit")
        return page

    async def stranger(self) -> BrowserContext:
        """Another profile: no cookies, no storage."""
        assert self._context.browser is not None
        context = await profile(self._context.browser)
        self._stack.push_async_callback(context.close)
        return context


Check = Callable[[Visit], Awaitable[object]]


@dataclass(frozen=True)
class Feature:
    """Something of run mode.

    Args:
        name: its row in the table.
        check: drives the page; returns what was seen.
        notebook: which of the fidelity notebooks; as the check is named by default.
        options: of the command line. With any that no others share, or with a project, it has a
            server of its own.
        project: more for `pyproject.toml`.
        unsupported: by backend's key, why it does not work there.
        since: the first version of marimo that has it.
        fetches: whether it needs an index of packages.
    """

    name: str
    check: Check
    notebook: str = ""
    options: tuple[str, ...] = ()
    project: str = ""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    since: tuple[int, ...] = (0,)
    fetches: bool = False

    @property
    def key(self) -> str:
        """Its name in test ids."""
        return re.sub(r"\W+", "-", self.name).strip("-").lower()


class Outcomes:
    """What the checks saw, each made once.

    Args:
        browser: the browser.
        shared_options: of each server of a backend that features share; first the options of those
            that name none.
        delay_s: how many seconds a packet takes to the machines of a cluster.
    """

    def __init__(
        self, browser: Browser, shared_options: Sequence[tuple[str, ...]], delay_s: float
    ) -> None:
        self._browser = browser
        self._shared_options = shared_options
        self._delay_s = delay_s
        self._cluster = ""
        self._shared: dict[tuple[str, tuple[str, ...]], tuple[Server, Path, BrowserContext]] = {}
        self._seen: dict[tuple[str, str], object] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Outcomes:
        own = tempfile.TemporaryDirectory(dir=TEMPORARY)
        self._common = self._stack.enter_context(shared_folder())
        self._own = Path(self._stack.enter_context(own))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def of(self, feature: Feature, backend: Backend) -> object:
        """What the feature's check saw with the backend, without paths and ports.

        A check that fails with marimo alone is made once more: its page lost the value of an
        element once in some hundred runs on a busy machine, and what is compared with mpkernel
        is what marimo means to do.
        """
        key = (feature.name, backend.key)
        if key not in self._seen:
            try:
                self._seen[key] = await self._check(feature, backend)
            except AssertionError as failure:
                if backend is not ALONE or backend.key in feature.unsupported:
                    raise
                warnings.warn(f"{feature.name} with marimo alone: {failure}", stacklevel=2)
                self._seen[key] = await self._check(feature, backend)
        return self._seen[key]

    async def _check(self, feature: Feature, backend: Backend) -> object:
        async with self._visit(feature, backend) as visit:
            seen = _COPY.sub(f"{visit.folder.parent}/", json.dumps(await feature.check(visit)))
            for part, name in ((str(visit.folder), "FOLDER"), (str(visit.server.port), "PORT")):
                seen = seen.replace(part, name)
            return json.loads(seen)

    @contextlib.asynccontextmanager
    async def _visit(self, feature: Feature, backend: Backend) -> AsyncIterator[Visit]:
        notebook = feature.notebook or feature.check.__name__
        async with contextlib.AsyncExitStack() as stack:
            options = feature.options or self._shared_options[0]
            if feature.project:
                served = await self._serve(stack, backend, feature.options, feature.project)
            elif options not in self._shared_options:
                served = await self._serve(stack, backend, options)
            else:
                key = (backend.key, options)
                if key not in self._shared:
                    self._shared[key] = await self._serve(self._stack, backend, options)
                served = self._shared[key]
            server, folder, context = served
            common = Path(tempfile.mkdtemp(dir=self._common))
            visit = Visit(server, folder, notebook, context, common)
            yield await stack.enter_async_context(visit)
            if backend.on_cluster:
                assert hosts_of(server) == []

    async def _serve(
        self,
        stack: contextlib.AsyncExitStack,
        backend: Backend,
        options: tuple[str, ...],
        project: str = "",
    ) -> tuple[Server, Path, BrowserContext]:
        parent = self._common if backend.has_folder else self._own
        folder = Path(tempfile.mkdtemp(dir=parent))
        ignore = shutil.ignore_patterns("__*__")
        shutil.copytree(NOTEBOOKS / "fidelity", folder, ignore=ignore, dirs_exist_ok=True)
        (folder / "pyproject.toml").write_text(backend.project + project)
        server = Server(
            folder,
            *(options[options.index("--") :] if "--" in options else ()),
            program=backend.program,
            options=options[: options.index("--")] if "--" in options else options,
            env={**backend.env, **(await self._of_cluster() if backend.on_cluster else {})},
            cwd=folder,
            health=_health(options),
            standby=True,
        )
        await stack.enter_async_context(server)
        context = await profile(self._browser, viewport={"width": 1200, "height": 1400})
        stack.push_async_callback(context.close)
        return server, folder, context

    async def _of_cluster(self) -> Mapping[str, str]:
        """The variables of a server whose apps run on the cluster."""
        if not self._cluster:
            started = self._stack.enter_context, cluster(self._delay_s)
            self._cluster = await asyncio.to_thread(*started)
        return {"MPKERNEL_CLUSTER": self._cluster}


def _health(options: Sequence[str]) -> str:
    base = options[options.index("--base-url") + 1] if "--base-url" in options else ""
    return f"{base}/health"
