"""The servers that the scenarios compare, side by side, and a folder of notebooks for them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil

from .process import Server

__all__ = ["MARIMO", "OURS", "OURS_COLD", "Notebooks", "process_of", "serve", "until_quiet"]

OURS, OURS_COLD, MARIMO = "mpkernel", "mpkernel, no standby", "marimo's hosts"

_WINDOW_S = 0.75  # a standby follows the one that was taken half a second later
_QUIET = 0.06
_PATIENCE_S = 9.0
_NOTEBOOK = Path(__file__).parent / "notebooks" / "tab.py"
_ISOLATE = "[tool.marimo.experimental]\nisolate_apps = true\n"
_MARIMO = (sys.executable, "-m", "marimo", "run")


class Notebooks:
    """A folder of copies of one notebook; each is an app of its own.

    Args:
        folder: an empty one.
        count: how many copies.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        (folder / "pyproject.toml").write_text(_ISOLATE)
        self._names = [f"app{number}.py" for number in range(count)]
        for name in self._names:
            shutil.copy(_NOTEBOOK, folder / name)

    def __getitem__(self, number: int) -> str:
        """The key of a notebook, for a tab."""
        return str(self.folder / self._names[number])


@contextlib.asynccontextmanager
async def serve(
    names: Sequence[str], notebooks: int
) -> AsyncIterator[tuple[dict[str, Server], Notebooks]]:
    """These servers, of the same notebooks.

    Args:
        names: which of `OURS`, `OURS_COLD` and `MARIMO`.
        notebooks: how many there shall be.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpkernel-bench-")))
        copies = Notebooks(folder, notebooks)
        servers = {}
        for name in names:
            server = _make(name, folder)
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


def _make(name: str, folder: Path) -> Server:
    if name == OURS:
        return Server(folder, cwd=folder)
    if name == OURS_COLD:
        return Server(folder, cwd=folder, options=("--standby", "0"))
    return Server(folder, cwd=folder, program=_MARIMO, env={"MPKERNEL_DISABLE": "1"})
