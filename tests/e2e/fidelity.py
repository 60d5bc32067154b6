"""What the fidelity tests share: backends, features, and the table of what works with which.

A feature is a notebook and a check that drives its page. The check asserts what the feature is for,
and returns an outcome: what was seen, which has to be the same whatever the backend.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from e2e.harness import NOTEBOOKS, PATIENCE_MS, PROGRAM, Server
from playwright.async_api import Browser, BrowserContext, Page

__all__ = [
    "ALONE",
    "BACKENDS",
    "MARKERS",
    "ZEROMQ",
    "Backend",
    "Feature",
    "Outcomes",
    "Table",
    "Visit",
    "markdown",
    "noted",
]

_MARIMO = (sys.executable, "-m", "marimo", "run")
_ISOLATED = "[tool.marimo.experimental]\nisolate_apps = true\n"
MARKERS = ("<!-- fidelity -->", "<!-- /fidelity -->")
"""Between them stands the table."""

_CELLS = {"passed": "yes", "skipped": "no"}


@dataclass(frozen=True)
class Backend:
    """One way to serve notebooks.

    Args:
        key: its name in test ids.
        title: its name in the table.
        program: the command that serves.
        env: variables to add to the environment.
        project: what `pyproject.toml` in the served folder says.
    """

    key: str
    title: str
    program: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    project: str = ""


_WITHOUT_US = {"MPKERNEL_DISABLE": "1", "UV": str(Path(sys.executable).with_name("uv"))}
ALONE = Backend("alone", "marimo alone", _MARIMO, _WITHOUT_US)
ZEROMQ = Backend("zeromq", "marimo + ZeroMQ hosts", _MARIMO, _WITHOUT_US, _ISOLATED)
MPKERNEL = Backend("mpkernel", "marimo + mpkernel", PROGRAM)
BACKENDS = (ALONE, ZEROMQ, MPKERNEL)


class Visit:
    """What a check is given: a served folder of notebooks and a browser to look at them.

    Attributes:
        server: the server.
        folder: what it serves: a copy of the fidelity notebooks, which the check may change.
        browser: to open further profiles in.
    """

    def __init__(
        self, server: Server, folder: Path, notebook: str, context: BrowserContext
    ) -> None:
        self.server = server
        self.folder = folder
        self.path = folder / f"{notebook}.py"
        self._context = context
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Visit:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def url(self, base: str = "/", **query: str | Sequence[str]) -> str:
        """The URL of the notebook's page."""
        parameters = urlencode({"file": str(self.path), **query}, doseq=True)
        return f"{self.server.url}{base}?{parameters}"

    async def page(self) -> Page:
        """An empty tab of the shared profile."""
        page = await self._context.new_page()
        self._stack.push_async_callback(page.close)
        return page

    async def open(self, **query: str | Sequence[str]) -> Page:
        """A tab with the notebook."""
        page = await self.page()
        await page.goto(self.url(**query), wait_until="commit")
        return page

    async def stranger(self) -> BrowserContext:
        """Another profile: no cookies, no storage."""
        assert self._context.browser is not None
        context = await self._context.browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
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
    """

    name: str
    check: Check
    notebook: str = ""
    options: tuple[str, ...] = ()
    project: str = ""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    since: tuple[int, ...] = (0,)

    @property
    def key(self) -> str:
        """Its name in test ids."""
        return re.sub(r"\W+", "-", self.name).strip("-").lower()


class Outcomes:
    """What the checks saw, each made once.

    Args:
        browser: the browser.
        folder: where copies of the notebooks may be made.
        shared_options: of each server of a backend that features share; first the options of those
            that name none.
    """

    def __init__(
        self, browser: Browser, folder: Path, shared_options: Sequence[tuple[str, ...]]
    ) -> None:
        self._browser = browser
        self._folder = folder
        self._shared_options = shared_options
        self._shared: dict[tuple[str, tuple[str, ...]], tuple[Server, Path, BrowserContext]] = {}
        self._seen: dict[tuple[str, str], object] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Outcomes:
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
            seen = json.dumps(await feature.check(visit))
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
            yield await stack.enter_async_context(Visit(server, folder, notebook, context))

    async def _serve(
        self,
        stack: contextlib.AsyncExitStack,
        backend: Backend,
        options: tuple[str, ...],
        project: str = "",
    ) -> tuple[Server, Path, BrowserContext]:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        ignore = shutil.ignore_patterns("__*__")
        shutil.copytree(NOTEBOOKS / "fidelity", folder, ignore=ignore, dirs_exist_ok=True)
        (folder / "pyproject.toml").write_text(backend.project + project)
        server = Server(
            folder,
            *(options[options.index("--") :] if "--" in options else ()),
            program=backend.program,
            options=options[: options.index("--")] if "--" in options else options,
            env=backend.env,
            cwd=folder,
            health=_health(options),
            standby=True,
        )
        await stack.enter_async_context(server)
        context = await self._browser.new_context(viewport={"width": 1200, "height": 1400})
        context.set_default_timeout(PATIENCE_MS)
        stack.push_async_callback(context.close)
        return server, folder, context


class Table:
    """A pytest plugin: writes what the fidelity tests found as a table in Markdown.

    Args:
        path: the file to write it into, between the lines of `MARKERS`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: dict[str, dict[str, str]] = {}
        self._notes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get("fidelity")
        if found is None or report.when != "call":
            return
        name, title = found
        cell = _CELLS.get(report.outcome, "FAILED")
        if note := getattr(report, "wasxfail", ""):
            cell = noted(cell, note, self._notes)
        self._cells.setdefault(name, {})[title] = cell

    def pytest_sessionfinish(self) -> None:
        text = self._path.read_text()
        head, begin, rest = text.partition(MARKERS[0])
        _, end, tail = rest.partition(MARKERS[1])
        table = markdown(self._cells, self._notes)
        self._path.write_text(f"{head}{begin}\n{table}\n{end}{tail}")


def noted(cell: str, note: str, notes: list[str]) -> str:
    """The text of a cell with the number of its note. A new note is added to the notes."""
    if note not in notes:
        notes.append(note)
    return f"{cell} [{notes.index(note) + 1}]"


def markdown(cells: Mapping[str, Mapping[str, str]], notes: Sequence[str]) -> str:
    """The table.

    Args:
        cells: by feature's name and backend's title.
        notes: what the numbers in the cells stand for.
    """
    titles = [backend.title for backend in BACKENDS]
    rows = [["in run mode", *titles], ["---"] * (1 + len(titles))]
    for name, found in cells.items():
        rows.append([name, *(found.get(title, "not run") for title in titles)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"[{n}] {note}.  " for n, note in enumerate(notes, 1))])


def _health(options: Sequence[str]) -> str:
    base = options[options.index("--base-url") + 1] if "--base-url" in options else ""
    return f"{base}/health"
