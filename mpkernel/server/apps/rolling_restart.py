"""`RollingRestart`: replaces an app's processes one after another, so that there is always one.

    for each process that took sessions when it began:
        start a fresh one ─▶ it is ready ─▶ the old one leaves ─▶ its sessions come back on others

If a fresh process does not become ready, the restart ends: the old processes go on. Those that are
still to leave get no sessions while others can take them, so that no session is restarted twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mpkernel.errors import HostStartError
from mpkernel.logs import get_logger
from mpkernel.server.apps.processes import AppProcesses
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.hosts.lifecycle import State

__all__ = ["RollingRestart"]

logger = get_logger(__name__)


class RollingRestart:
    """One app's. On the loop's thread.

    Args:
        path: absolute path of the app's file.
        processes: the app's.
        leave: asks a process to leave; its sessions come back on another.
    """

    def __init__(
        self, path: str, processes: AppProcesses, leave: Callable[[AppHost], None]
    ) -> None:
        self._path = path
        self._processes = processes
        self._leave = leave
        self._old: deque[AppHost] = deque()
        self._fresh: AppHost | None = None
        self._leaving: AppHost | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether processes are still to be replaced."""
        return bool(self._old or self._leaving)

    def begin(self) -> None:
        """Replace the processes that take sessions now, except one that was just started for this.
        `step` does it."""
        self._old = deque(host for host in self._processes.taking if host is not self._fresh)
        self._processes.replace_soon(self._old)

    def end(self) -> None:
        """Stop: the processes that are not replaced yet stay."""
        self._old.clear()
        self._fresh = self._leaving = None
        self._processes.replace_soon(())

    def step(self) -> None:
        """Do what can be done now. To be called whenever something happened to a process. Raises
        what `AppProcesses.launch_again` raises, but for `HostStartError`."""
        if self._leaving is not None and self._leaving in self._processes.all:
            return
        self._leaving = None
        while self._old and not self._old[0].takes_sessions:  # it has ended
            self._old.popleft()
        if not self._old:
            if self._fresh is not None:
                self.end()
            return
        if self._fresh is None:
            self._start_a_fresh_one()
        elif not self._fresh.takes_sessions:
            self._give_up("the fresh process did not stay")
        elif self._fresh.state is State.READY:
            self._fresh = None
            self._leaving = self._old.popleft()
            self._leave(self._leaving)

    def _start_a_fresh_one(self) -> None:
        try:
            self._fresh = self._processes.launch_again()
        except HostStartError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        logger.warning(
            "the rolling restart ends, and %d of the processes stay as they are: %s",
            len(self._old),
            why,
            app=self._path,
        )
        self.end()
