"""`Upkeep`: does the next thing for an app whenever something has happened to it.

    anything happens ─▶ look soon ─┬─ sessions that wait get a process
                                   ├─ a rolling restart goes on
                                   └─ processes that are lacking are started
    nothing can be done yet ─▶ a timer leads there again

Everything is looked at anew each time, so that no event can be missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mpkernel.errors import AppUnavailable, HostStartError, MPKernelError, PoolClosed
from mpkernel.logs import get_logger
from mpkernel.server.apps.processes import AppProcesses
from mpkernel.server.apps.rolling_restart import RollingRestart
from mpkernel.server.apps.waiting_sessions import WaitingSessions
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.sessions.base import BaseSession

__all__ = ["Upkeep", "end_all"]

logger = get_logger(__name__)

_AFTER_FAILURE_S = 1.0


class Upkeep:
    """One app's. On the loop's thread.

    Args:
        path: absolute path of the app's file.
        loop: the running loop.
        processes: the app's.
        leave: has a process leave, so that its sessions come back on another.

    Attributes:
        waiting: the sessions that wait for a process.
        rolling_restart: the app's.
        is_closed: whether nothing is started any more. Set it to close.
    """

    def __init__(
        self,
        path: str,
        loop: asyncio.AbstractEventLoop,
        processes: AppProcesses,
        leave: Callable[[AppHost], None],
    ) -> None:
        self.waiting = WaitingSessions(
            path, loop, self.look_soon, processes.host_again, processes.host_for_suspect
        )
        self.rolling_restart = RollingRestart(path, processes, leave)
        self.is_closed = False
        self._path = path
        self._loop = loop
        self._processes = processes
        self._next_look: asyncio.Handle | None = None
        self._look_at = 0.0  # when that is due, by the loop's time
        self._is_failing = False  # whether the last look has failed: only the first one is logged

    def look_soon(self, delay_s: float = 0.0) -> None:
        """Look at the app once, after this delay. If several calls ask for a look, there is one, at
        the earliest of their times."""
        if self.is_closed:
            return
        look_at = self._loop.time() + delay_s
        if self._next_look is not None:
            if self._look_at <= look_at:
                return
            self._next_look.cancel()
        self._look_at = look_at
        self._next_look = self._loop.call_later(delay_s, self._look)

    def end_waiting(self, error: MPKernelError | None) -> None:
        """End the sessions that wait for a process."""
        end_all(self.waiting.take_all(), error)
        self.look_soon()

    def _look(self) -> None:
        self._next_look = None
        if self.is_closed:
            return
        try:
            again_s = self._do_what_is_due()
            self._is_failing = False
        except Exception:  # the sessions that wait count on the next look
            if not self._is_failing:
                logger.exception("what is due for an app cannot be done for now", app=self._path)
            self._is_failing = True
            again_s = _AFTER_FAILURE_S
        if again_s is not None:
            self.look_soon(again_s)

    def _do_what_is_due(self) -> float | None:
        """Returns in how many seconds to look again; None: not before something else happens."""
        again_s = [self._bring_back()]
        self._go_on_with_the_restart()
        again_s.append(self._keep_minimum())
        return min((seconds for seconds in again_s if seconds is not None), default=None)

    def _bring_back(self) -> float | None:
        """Bring back the next of the sessions that wait. Returns in how many seconds to look again;
        None: not before something else happens."""
        if not self.waiting:
            return None
        if self._processes.is_death_untold and not self._processes.taking:
            return None  # `died` follows soon, and looks again
        try:
            left_s = self._processes.wait_s()
            if left_s:
                logger.info("restart in %.1f s", left_s, app=self._path)
                return left_s
            return self.waiting.bring_back()
        except AppUnavailable as error:
            self.end_waiting(error)
        except PoolClosed as error:
            self.is_closed = True
            self.end_waiting(error)
        except HostStartError:
            return 0.0  # the next look waits until it may be tried again
        return None

    def _go_on_with_the_restart(self) -> None:
        """Do its next step. Whatever it waits for then makes the app look again."""
        if self.is_closed or self.waiting or self._processes.is_death_untold:
            return  # sessions that have lost their process come first
        try:
            self.rolling_restart.step()
        except PoolClosed:
            self.is_closed = True

    def _keep_minimum(self) -> float | None:
        """Start one more process if there are fewer than `Settings.processes_min`. Returns what
        `_bring_back` returns."""
        if self.is_closed or self._processes.is_death_untold:
            return None
        left_s = self._processes.lacking_s()
        if left_s == 0.0:
            try:
                self._processes.launch_again()
            except PoolClosed:
                self.is_closed = True
                return None
            except HostStartError as error:
                logger.debug("a process is started later: %s", error, app=self._path)
            left_s = self._processes.lacking_s()
        return left_s


def end_all(sessions: list[BaseSession], error: MPKernelError | None) -> None:
    """End these sessions with this error; None: they end in order."""
    for session in sessions:
        # Each session gets a copy: an exception carries the traceback of the code that raises it.
        session.end(None if error is None else type(error)(error.what, remedy=error.remedy))
