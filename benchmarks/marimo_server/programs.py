"""The servers that the scenarios compare, side by side, and a folder of notebooks for them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil

from .process import Server

__all__ = [
    "MARIMO",
    "MARIMO_ALONE",
    "MARIMO_SANDBOX",
    "OURS",
    "OURS_ALONE",
    "OURS_COLD",
    "OURS_SANDBOX",
    "OURS_SANDBOX_COLD",
    "OURS_SPREAD",
    "OURS_TENS",
    "OURS_UNSTORED",
    "OURS_VISITORS",
    "Notebooks",
    "process_of",
    "serve",
    "until_quiet",
]

OURS, OURS_COLD, MARIMO = "mpkernel", "mpkernel, no standby", "marimo's hosts"
MARIMO_ALONE = "marimo in one process"
OURS_SANDBOX, OURS_SANDBOX_COLD = "mpkernel --sandbox", "mpkernel --sandbox, no standby"
MARIMO_SANDBOX = "marimo's hosts --sandbox"
OURS_SPREAD = ("mpkernel, 2 processes", "mpkernel, 4 processes")
OURS_TENS = "mpkernel, 3 processes of 10 tabs"
OURS_ALONE = "mpkernel, a process for each tab"
OURS_UNSTORED = "mpkernel, no store"
OURS_VISITORS = "mpkernel, a confined process for each tab"

_WINDOW_S = 0.75  # a standby follows the one that was taken half a second later
_QUIET = 0.06
_PATIENCE_S = 9.0
_NOTEBOOK = Path(__file__).parent / "notebooks" / "tab.py"
_ISOLATE = "[tool.marimo.experimental]\nisolate_apps = {}\n"
_HEADER = '# /// script\n# dependencies = ["marimo"]\n# ///\n'
_LEAVES_SOON = ("--session-ttl", "1")
_SPREADING = {
    OURS_SPREAD[0]: ("--processes-max", "2"),
    OURS_SPREAD[1]: ("--processes-max", "4"),
    OURS_TENS: ("--processes-max", "3", "--sessions-per-process", "10"),
    OURS_VISITORS: (
        *("--processes-max", "none", "--sessions-per-process", "1", "--standby", "3"),
        *("--confine", "files"),
    ),
    OURS_ALONE: ("--processes-max", "none", "--sessions-per-process", "1", "--standby", "2"),
}
_MARIMO = (sys.executable, "-m", "marimo", "run")


class Notebooks:
    """A folder of copies of one notebook; each is an app of its own.

    Args:
        folder: an empty one.
        count: how many copies.
        with_headers: whether they name their packages.
    """

    def __init__(self, folder: Path, count: int, *, with_headers: bool = False) -> None:
        self.folder = folder
        (folder / "pyproject.toml").write_text(_ISOLATE.format("true"))
        self._names = [f"app{number}.py" for number in range(count)]
        for name in self._names:
            code = _NOTEBOOK.read_text()
            (folder / name).write_text(_HEADER + code if with_headers else code)

    def __getitem__(self, number: int) -> str:
        """The key of a notebook, for a tab."""
        return str(self.folder / self._names[number])


@contextlib.asynccontextmanager
async def serve(
    names: Sequence[str],
    notebooks: int,
    *,
    sandboxes: bool = False,
    options: Sequence[str] = (),
) -> AsyncIterator[tuple[dict[str, Server], Notebooks]]:
    """These servers, of the same notebooks.

    Args:
        names: which.
        notebooks: how many there shall be.
        sandboxes: whether the notebooks name their packages, and processes leave soon after their
            last tab.
        options: for each server's command.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpkernel-bench-")))
        copies = Notebooks(folder, notebooks, with_headers=sandboxes)
        servers = {}
        for name in names:
            own = (*(_LEAVES_SOON if sandboxes else ()), *options)
            server = _make(name, folder, own, leaves_soon=sandboxes)
            servers[name] = await stack.enter_async_context(server)
        yield servers, copies


async def until_quiet(server: Server) -> None:
    """Wait until the server and its processes compute nothing: a standby has warmed up by then.

    For `_PATIENCE_S` at the longest.
    """
    before_s = _cpu_s(server)
    for _ in range(int(_PATIENCE_S / _WINDOW_S)):
        await asyncio.sleep(_WINDOW_S)
        now_s = _cpu_s(server)
        if now_s - before_s < _QUIET * _WINDOW_S:
            return
        before_s = now_s


def process_of(text: str) -> int:
    """The process id that the notebook shows."""
    return int(text.split("in process")[1].split()[0])


def _cpu_s(server: Server) -> float:
    total_s = 0.0
    tree = psutil.Process(server.pid)
    for process in (tree, *tree.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system
    return total_s


def _make(name: str, folder: Path, options: Sequence[str], *, leaves_soon: bool) -> Server:
    if name in (MARIMO, MARIMO_SANDBOX, MARIMO_ALONE):
        own = ("--sandbox",) if name == MARIMO_SANDBOX else ()
        env = {"MPKERNEL_DISABLE": "1"}
        here = folder
        if name == MARIMO_ALONE:
            here = folder / "alone"
            here.mkdir()
            (here / "pyproject.toml").write_text(_ISOLATE.format("false"))
        return Server(folder, cwd=here, program=_MARIMO, options=(*own, *options), env=env)
    if leaves_soon:
        options = (*options, "--idle-retire-s", "0")
    if name in (OURS_COLD, OURS_SANDBOX_COLD):
        options = (*options, "--standby", "0")
    if name in (OURS_SANDBOX, OURS_SANDBOX_COLD):
        options = (*options, "--sandbox")
    if name == OURS_UNSTORED:
        options = (*options, "--session-store", "false")
    options = (*options, *_SPREADING.get(name, ()))
    env = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
    return Server(folder, cwd=folder, options=options, env=env)
