"""`Standby`: processes that have imported what apps need, and wait for one.

    launch ─▶ warming ─▶ ready ─▶ taken: from then on the process of an app as any other
                 └────────┴──▶ died, or does not fit any more: ended; the next follows

An app gets such a process only if a fresh one would be the same. So nothing that a process inherits
from the server may have changed since it was launched, and it must not have imported a module that
the app would import from its own folder. A process that is still warming is not given: it imports
at a low priority, which may take longer than the app's own start. An app that is confined gets none
whose imports have started threads: threads that run keep their rights.

`warm_process` is one such process. `restart_policy` says when one may follow a dead one. The
importing itself is done in the host.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from mpkernel.errors import HostStartError
from mpkernel.logs import get_logger
from mpkernel.server.launching.environments import environment_for
from mpkernel.server.launching.process import Launcher, Process
from mpkernel.server.launching.restart_policy import RestartPolicy
from mpkernel.server.launching.warm_process import Inherited, WarmProcess
from mpkernel.server.launching.wrapping import wrapper_of
from mpkernel.settings import Settings
from mpkernel.wire.messages import Warm

__all__ = ["Standby"]

logger = get_logger(__name__)

# The launch of the next process must not take processor time from the app that was just started. An
# app in a standby runs after a tenth of a second. The imports may begin then, because they run at a
# low priority, and a second app that starts within a second should find the next process ready.
_REFILL_DELAY_S = 0.1

# Where sessions come back after a death, they all compute, and other tabs are used meanwhile.
_REFILL_AFTER_DEATH_DELAY_S = 2.0


class Standby:
    """Keeps warm processes. On the loop's thread, except `kill_and_reap`.

    Args:
        settings: `standby` says how many, `standby_imports` what they import, `start_timeout_s` how
            long that may take, and `restart_*` when one may follow those that died. After too many
            deaths in a row, no more are started.
        launcher: launches them.
    """

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        self._settings = settings
        self._launcher = launcher
        self._policy = RestartPolicy(settings)
        self._processes: list[WarmProcess] = []
        self._ending: set[WarmProcess] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._at_low_priority = True
        self._closed = settings.standby == 0

    @property
    def pids(self) -> list[int]:
        """The processes that are ready."""
        return [process.pid for process in self._processes if process.is_ready]

    def start(self) -> None:
        """Launch the first process now. Without this call, it is launched only when an app was
        started."""
        self._fill_in(0.0)

    async def wait_ready(self) -> bool:
        """Wait until all of them are ready. False: there will be none."""
        if not self._closed:
            await self._settled.wait()
        return not self._closed

    def take(
        self,
        app: str,
        settings: Settings,
        import_folders: Iterable[str] = (),
        *,
        sessions_wait: bool = False,
    ) -> Process | None:
        """A warm process for the app of this file, with these settings; None if no process fits.
        The caller sends it `Setup`, and ends it.

        Returns at once. The next one is launched a little later.

        Args:
            app: absolute path of the file.
            settings: the app's.
            import_folders: see `App`.
            sessions_wait: whether sessions of the app wait for it that have lost their process. The
                next one is launched when they should be back.
        """
        if self._closed:
            return None
        inherited = Inherited.now(self._settings)
        for process in [one for one in self._processes if one.inherited != inherited]:
            logger.info("standby ended, the server has changed since", pid=process.pid)
            self._end(process)
        self._fill_in(_REFILL_AFTER_DEATH_DELAY_S if sessions_wait else _REFILL_DELAY_S)
        if inherited.environment != environment_for(settings) or inherited.wrapper != wrapper_of(
            settings
        ):
            return None
        for process in self._processes:
            if process.threaded and settings.confine != "off":
                continue
            if process.can_be_taken and not any(
                _holds_any_of(folder, process.names)
                for folder in {*_folders_of(app), *import_folders}
            ):
                self._remove(process)
                return process.release()
        return None

    async def close(self) -> None:
        """End every process and wait until it is gone. Idempotent."""
        self.close_soon()
        await asyncio.gather(*(process.gone() for process in list(self._ending)))

    def close_soon(self) -> None:
        """The same, without waiting."""
        self._closed = True
        self._settled.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for process in list(self._processes):
            self._end(process)

    def kill_and_reap(self) -> None:
        """Kill every process and wait for it: for a server that leaves without its loop."""
        self._closed = True
        for process in [*self._processes, *self._ending]:
            process.kill_and_reap()

    def _fill_in(self, delay_s: float) -> None:
        if self._closed or self._timer is not None:
            return
        delay_s = max(delay_s, self._policy.wait_s(time.monotonic()))
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._fill)

    def _fill(self) -> None:
        """Launch one, unless another one still imports: when that one is ready, this is called
        again."""
        self._timer = None
        if len(self._processes) == self._settings.standby:
            return
        if any(not process.is_ready for process in self._processes):
            return
        warm = Warm(list(self._settings.standby_imports), self._at_low_priority)
        try:
            inherited = Inherited.now(self._settings)
            process = WarmProcess(
                self._launcher,
                warm,
                inherited,
                self._settings.start_timeout_s,
                self._on_warmed,
                self._on_death,
            )
        except HostStartError as error:
            logger.info("no standby for now: %s", error)
            self._policy.refused(time.monotonic())
            self._fill_in(0.0)
        else:
            self._policy.launched()
            self._processes.append(process)

    def _on_warmed(self, process: WarmProcess) -> None:
        if process.slowed:
            logger.info(
                "standby ended: its imports left threads with a low priority; the next standby"
                " imports at the usual priority"
            )
            self._at_low_priority = False
            self._end(process)
        if len(self.pids) == self._settings.standby:
            self._settled.set()
        else:
            self._fill_in(0.0)

    def _on_death(self, process: WarmProcess, what: str) -> None:
        if process in self._ending:
            self._ending.discard(process)
            return
        self._remove(process)
        self._on_failure(f"standby pid={process.pid}: {what}")

    def _on_failure(self, what: str) -> None:
        self._policy.died(time.monotonic())
        if not self._policy.failed:
            logger.info("%s", what)
            self._fill_in(0.0)
            return
        self.close_soon()
        logger.warning("apps start without a standby from now on, too many died; last: %s", what)

    def _end(self, process: WarmProcess) -> None:
        self._remove(process)
        self._ending.add(process)
        process.kill()

    def _remove(self, process: WarmProcess) -> None:
        self._processes.remove(process)
        if not self._closed:
            self._settled.clear()


def _folders_of(app: str) -> set[str]:
    """Where imports of an app look first: Python looks beside the file that a link leads to."""
    return {os.path.dirname(app), os.path.dirname(os.path.realpath(app))}


def _holds_any_of(folder: str, names: Iterable[str]) -> bool:
    """Whether an app in this folder would import one of these modules from the folder; also True if
    the folder cannot be read. A new finder is used: those of the interpreter remember an earlier
    content of the folder."""
    finder = FileFinder(
        folder,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceFileLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    try:
        found = [finder.find_spec(name) for name in names]
    except OSError as error:  # no descriptor is left, for example
        logger.info("an app gets no standby, its folder cannot be read: %s", error)
        return True
    # A folder without `__init__.py` has no loader. A module later on the path is preferred to it.
    return any(spec is not None and spec.loader is not None for spec in found)
