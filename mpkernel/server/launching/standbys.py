"""`Standbys`: the standbys of a pool: of the server's Python, and of the last other one.

A process cannot change its Python. So there are at most two standbys: one of the server's Python,
and one of the other Python that an app was last started with. When an app is started with a third
Python, the second standby is ended and replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mpkernel.aio.tasks import supervised_task
from mpkernel.errors import HostStartError
from mpkernel.server.launching.other_python import PythonOfApp
from mpkernel.server.launching.process import Launcher, Process, ProcessToLaunch
from mpkernel.server.launching.standby import Standby
from mpkernel.settings import Settings

__all__ = ["Standbys"]


class Standbys:
    """Keeps warm processes. On the loop's thread, except `kill_and_reap`.

    Args:
        settings: see `Standby`; each standby has as many processes as `standby` says.
        launcher: launches them.
    """

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        self._settings = settings
        self._launcher = launcher
        self._of_server = Standby(settings, launcher)
        self._of_other: Standby | None = None
        self._key = ""  # of the second standby
        self._ending: set[Standby] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that are ready."""
        return [pid for standby in self._all for pid in standby.pids]

    def start(self) -> None:
        """Launch the first one now. Without this call, that happens only after an app was
        started."""
        self._of_server.start()

    async def wait_ready(self) -> bool:
        """Wait until all of them are ready. False: some will never be."""
        return all([await standby.wait_ready() for standby in self._all])

    def take(
        self,
        app: str,
        settings: Settings,
        import_folders: Iterable[str] = (),
        python: PythonOfApp | None = None,
        *,
        sessions_wait: bool = False,
    ) -> Process | None:
        """A warm process for an app; see `Standby.take`.

        Args:
            app, settings, import_folders, sessions_wait: see there.
            python: the Python that the app needs. Default: the server's own.
        """
        standby = self._of_server if python is None else self._standby_of(python)
        return standby.take(app, settings, import_folders, sessions_wait=sessions_wait)

    async def close(self) -> None:
        """End every process and wait until it is gone. Idempotent."""
        self.close_soon()
        await asyncio.gather(*(standby.close() for standby in [*self._all, *self._ending]))

    def close_soon(self) -> None:
        """The same, without waiting."""
        self._closed = True
        for standby in self._all:
            standby.close_soon()

    def kill_and_reap(self) -> None:
        """Kill every process and wait for it: for a server that leaves without its loop."""
        self._closed = True
        for standby in [*self._all, *self._ending]:
            standby.kill_and_reap()

    @property
    def _all(self) -> list[Standby]:
        return [one for one in (self._of_server, self._of_other) if one is not None]

    def _standby_of(self, python: PythonOfApp) -> Standby:
        key, before = python.key, self._of_other
        if before is not None and (key == self._key or self._closed):
            return before
        standby = Standby(self._settings, _LauncherOfPython(self._launcher, python))
        if self._closed:
            standby.close_soon()
        self._of_other, self._key = standby, key
        if before is not None:
            self._ending.add(before)
            supervised_task(self._end(before), name="mpkernel.standby.end")
        return standby

    async def _end(self, standby: Standby) -> None:
        try:
            await standby.close()
        finally:
            self._ending.discard(standby)


class _LauncherOfPython:
    """A `Launcher` whose processes run with one Python, once that is whole.

    Args:
        launcher: launches them.
        python: the Python.
    """

    def __init__(self, launcher: Launcher, python: PythonOfApp) -> None:
        self._launcher = launcher
        self._python = python

    def is_local(self, settings: Settings) -> bool:
        """See `Launcher.is_local`."""
        return self._launcher.is_local(settings)

    def close(self) -> None:
        """Nothing of its own is open."""

    def launch(self, order: ProcessToLaunch) -> Process:
        """See `Launcher.launch`.

        Raises:
            HostStartError: it was refused; or the environment is not whole yet.
        """
        if not self._python.is_whole:
            raise HostStartError(
                f"the environment {self._python.folder} is not made yet", remedy="wait"
            )
        return self._launcher.launch(order._replace(python=self._python))
