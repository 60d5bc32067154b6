"""A notebook whose server ends and is followed by another, and what of it is stored."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from e2e.harness import NOTEBOOKS, PROGRAM, Server, Tab, free_port
from waiting import PATIENCE_S

__all__ = ["Served", "tab_at_seven", "until_written"]


class Served:
    """A notebook that one server after the other serves, on one port.

    Args:
        folder: where its file is, and what is stored.
        notebook: which.
        options: of `mpkernel run`.
    """

    def __init__(self, folder: Path, notebook: str, *options: str) -> None:
        self.path = folder / notebook
        self.path.write_bytes((NOTEBOOKS / notebook).read_bytes())
        self.state = folder / "state"
        self._port = free_port()
        self._options = options

    def server(self, *, of_marimo: bool = False) -> Server:
        """The next server of the notebook, with mpkernel or with marimo alone."""
        env = {"XDG_STATE_HOME": str(self.state)}
        if of_marimo:
            env["MPKERNEL_DISABLE"] = "1"
        return Server(
            self.path,
            program=(sys.executable, "-m", "marimo", "run") if of_marimo else PROGRAM,
            options=self._options,
            port=self._port,
            env=env,
        )

    @property
    def files(self) -> list[Path]:
        """The files of stored sessions."""
        sessions = self.state / "mpkernel" / "sessions"
        return [path for path in sessions.glob("*-*/*") if path.name != "owner"]


async def until_written(served: Served, count: int) -> None:
    """Wait until so many sessions are stored, and the store has nothing left to write."""
    before: list[tuple[str, int]] = []
    quiet_since = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while len(before) < count or time.monotonic() - quiet_since < 0.5:
            await asyncio.sleep(0.05)
            now = [(path.name, path.stat().st_mtime_ns) for path in served.files]
            if now != before:
                before, quiet_since = now, time.monotonic()


async def tab_at_seven(served: Served, server: Server, tab: Tab | None = None) -> Tab:
    """A tab whose slider was moved to 7, which is stored.

    Args:
        served: the notebook, which is `slider.py`.
        server: its server.
        tab: the tab. Default: a new one.
    """
    tab = tab if tab is not None else Tab(server.url)
    await tab.open()
    await tab.wait_for("in process")
    await tab.set_ui("Number", 7)
    await tab.wait_for("number 7 squared")
    await until_written(served, 1)
    return tab
