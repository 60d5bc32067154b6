"""`App`: one app, what stays while its processes come and go.

    open ─▶ App ─▶ the host that takes this session (launched where one more is due, and may be)
             │  ◀─ died: a record, and the sessions that were on it
             └───▶ those with a journal come back on other hosts, the others are told

Whatever happens to an app, `upkeep` does what follows for the sessions that wait and the processes
that are lacking. What sessions wait for is listed in `waiting_sessions`; which process takes them,
and when one may be started, is `processes`'; the life of one process is `host`'s.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from mpkernel.aio.loops import call_on_loop
from mpkernel.errors import (
    ClusterError,
    ConfinementError,
    HostDied,
    MPKernelError,
    PoolClosed,
    SandboxError,
    UnfitPython,
)
from mpkernel.logs import get_logger
from mpkernel.server.apps.open_sessions import OpenSessions
from mpkernel.server.apps.processes import AppProcesses, OnDeath
from mpkernel.server.apps.upkeep import Upkeep, end_all
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Cause, Death, Reason
from mpkernel.server.supervision.tallies import Tallies
from mpkernel.server.supervision.usage import Usage
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.steps import run_each

__all__ = ["App"]

logger = get_logger(__name__)

LaunchHost: TypeAlias = Callable[["App", KernelSpec], AppHost]


class App:
    """One app of a pool. On the loop's thread, but for `forget`.

    Args:
        path: absolute path of its file.
        settings: see `Settings`.
        loop: the running loop.
        launch_host: launches a host of this app, for this kernel.
        on_death: called with each death, the sessions that were on the process, and the latest
            looks at what it used. Default: nothing is.
        clock: seconds, as `time.monotonic`, which is the default.

    Attributes:
        path, settings: as given.
        name: the app's short name, for messages.
        import_folders: from which it imports before all others, beside its own; none unless whoever
            opens its sessions says so. A standby that has imported a module that would have come
            from there is not given to it.
        tallies: what has happened to it.
    """

    def __init__(
        self,
        path: str,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        launch_host: LaunchHost,
        on_death: OnDeath = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.settings = settings
        self.import_folders: tuple[str, ...] = ()
        self.tallies = Tallies()
        self._loop = loop
        launch = functools.partial(launch_host, self)
        self._processes = AppProcesses(
            path, self.name, settings, self.tallies, launch, on_death, clock
        )
        self._open_sessions = OpenSessions(self.name, settings.sessions_max)
        self._upkeep = Upkeep(path, loop, self._processes, self._restart_one)
        self._waiting = self._upkeep.waiting

    @property
    def hosts(self) -> list[AppHost]:
        """The hosts that live, those that take sessions first."""
        return self._processes.all

    def number_of(self, host: AppHost) -> int:
        """Which of its processes this one is; see `AppProcesses.number_of`."""
        return self._processes.number_of(host)

    @property
    def last_death(self) -> Death | None:
        """How its last process that died did; None when none did."""
        return self._processes.last_death

    @property
    def death_count(self) -> int:
        """How many of its processes died."""
        return self._processes.death_count

    @property
    def waiting_count(self) -> int:
        """Sessions that wait for a process."""
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is started any more."""
        return self._upkeep.is_closed

    @property
    def is_idle(self) -> bool:
        """Whether this object can be dropped, because a new one for the same app would behave in
        the same way: there is no process, no session waits for one, and no recent death delays the
        next start."""
        return not self._waiting and self._processes.is_calm

    @property
    def is_failed(self) -> bool:
        """Whether the app has no process, and died too often to get one for a while."""
        return self._processes.is_failed

    def wait_s(self) -> float:
        """How long until a process may be started, if none runs; 0.0 for now.

        Raises:
            AppUnavailable: the app died too often.
        """
        return self._processes.wait_s()

    def open(self, session: BaseSession, kernel: KernelSpec) -> None:
        """Start a kernel for a session, now or, for one with a journal, when a process may be
        started.

        Raises:
            PoolClosed: the app was closed with its pool.
            SessionNameTaken: another session of the app that is still open has the same name.
            AppUnavailable: the app has `sessions_max` sessions.
            AppUnavailable, HostStartError: as `AppProcesses.host_for`.
            ProtocolError: `kernel.args` is too large for a message.
        """
        self._check_new(session)
        self._open_sessions.check_room()
        for host in self.hosts:
            if host.takes_sessions and host.is_outdated:
                host.drain()
        with self._open_sessions.opening(session):
            if session.can_be_rebuilt and self.wait_s():
                self._waiting.add(session)
                self._upkeep.look_soon()
            else:
                starts = self.tallies.starts
                host = self._processes.host_for(kernel)
                if self.tallies.starts > starts:
                    self._upkeep.look_soon()  # waiting sessions may come back on it
                host.open(session, kernel)
        self.tallies.sessions += 1

    def open_again(self, session: BaseSession, kernel: KernelSpec, death: Death) -> None:
        """Bring a session back that an earlier server had: its journal has taken over what that one
        kept.

        Args:
            session, kernel: as for `open`.
            death: what to tell its client; see `BaseSession.on_recovered`.

        Raises:
            PoolClosed, SessionNameTaken, AppUnavailable, HostStartError: as `open`.
        """
        self._check_new(session)
        with self._open_sessions.opening(session):
            if not self.wait_s():
                self._processes.host_for(kernel)
            self._waiting.add(session, death)
            self._upkeep.look_soon()
        self.tallies.sessions += 1

    def _check_new(self, session: BaseSession) -> None:
        if self._upkeep.is_closed:
            raise PoolClosed(f"{self.name} was closed with its pool", remedy="open a new pool")
        self._open_sessions.check_name(session)
        self._processes.somebody_asks()

    def session_closed(self, session: BaseSession) -> None:
        """A session was closed, or has ended: another may be opened in its place, and by its name.
        Idempotent; from any thread."""
        self._open_sessions.closed(session)

    def forget(self, session: BaseSession) -> None:
        """A session that waits for a process was closed. From any thread."""
        call_on_loop(self._loop, functools.partial(self._waiting.forget, session))

    def close(self) -> None:
        """`leave`, and start nothing any more."""
        self._upkeep.is_closed = True
        self.leave()

    def drain(self) -> None:
        """Start nothing any more, and have every session end with its present command, and every
        process with its last session. Returns at once."""
        self._upkeep.is_closed = True
        self._upkeep.end_waiting(None)
        patience_s = self.settings.drain_grace_s
        run_each(
            [functools.partial(host.drain, patience_s=patience_s) for host in self.hosts],
            "a process could not be told to drain",
        )

    def replace(self, pid: int | None = None) -> None:
        """Give new sessions a fresh process. Each present process leaves with its last session;
        with a `pid`, only the process of this id does."""
        for host in self._hosts_of(pid):
            host.drain()

    def restart(self, pid: int | None = None) -> None:
        """Have every process leave in order; with a `pid`, only the process of this id. Sessions
        with a journal come back on another process. If every process leaves, earlier deaths are
        forgotten: an app that died too often may start again."""
        if pid is None:
            self._upkeep.rolling_restart.end()
            self._processes.forget_deaths()
        for host in self._hosts_of(pid):
            self._restart_one(host)
        self._upkeep.look_soon()

    def restart_rolling(self) -> None:
        """Have every process leave in the same way, but one after another, each when a fresh
        process is ready. Returns at once. If a rolling restart is already under way, it begins
        anew."""
        self._upkeep.rolling_restart.begin()
        self._upkeep.look_soon()

    def _hosts_of(self, pid: int | None) -> list[AppHost]:
        return [host for host in self.hosts if pid in (None, host.pid)]

    def _restart_one(self, host: AppHost) -> None:
        what = f"the process of {self.name} was restarted by the server's operator"
        host.leave_for(Reason.OPERATOR, HostDied(what, remedy="open the session again"))

    def leave(self) -> None:
        """Have every process leave, and end the sessions that wait for a process. No process is
        kept (`Settings.processes_min`) until there is another session. Returns at once."""
        self._processes.rest()
        self._upkeep.rolling_restart.end()
        self._upkeep.end_waiting(None)
        run_each([host.leave for host in self.hosts], "a process could not be told to leave")

    def fell(self, host: AppHost, cause: Cause) -> None:
        """Called by a host: its process ended, and `died` follows, with the reason."""
        self._processes.fell(host, cause)

    def died(
        self,
        death: Death,
        error: MPKernelError,
        sessions: list[BaseSession],
        usages: Sequence[Usage],
    ) -> None:
        """Called by a host: why its process ended, who was on it, and what it had used."""
        self._processes.died(death, sessions, usages)
        logger.warning(
            "%s sessions=%d",
            death.what,
            len(sessions),
            app=self.path,
            pid=death.pid,
            worker=death.worker,
        )
        # Another process would end in the same way.
        if isinstance(error, SandboxError | UnfitPython | ConfinementError):
            end_all(sessions, error)
            sessions = []
        elif isinstance(error, ClusterError):  # those that have values to lose wait for another try
            end_all([session for session in sessions if not session.record.has_run], error)
            sessions = [session for session in sessions if session.record.has_run]
        coming_back, ending = self._sorted_out(sessions)
        end_all(ending, error)
        try:
            self._waiting.plan(death, coming_back)
        except Exception:
            logger.exception("what becomes of sessions could not be decided", app=self.path)
            end_all(coming_back, error)
        self._upkeep.look_soon()

    def left(self, sessions: list[BaseSession], error: MPKernelError) -> None:
        """Called by a host: these have no process any more, though it did not die; see `Owner`.
        Those with a journal come back, unless the app was closed; the others are told this."""
        coming_back, ending = self._sorted_out(sessions)
        end_all(ending, error)
        for session in coming_back:
            self._waiting.add(session)
        self._upkeep.look_soon()

    def host_over(self, host: AppHost) -> None:
        """Called by a host: its process is gone, whatever the reason, and all is cleaned up."""
        self._processes.over(host)
        self._upkeep.look_soon()

    def host_changed(self, host: AppHost) -> None:
        """Called by a host: it became ready, or takes no sessions any more."""
        self._upkeep.look_soon()

    def may_retire(self, host: AppHost) -> bool:
        """Called by a host: whether it may leave because it has no sessions."""
        is_rolling = self._upkeep.rolling_restart.is_under_way  # what was started for it is needed
        return not is_rolling and self._processes.is_spare(host)

    def _sorted_out(
        self, sessions: list[BaseSession]
    ) -> tuple[list[BaseSession], list[BaseSession]]:
        """Divide sessions that have lost their process into those that come back and those that
        end."""
        fates: dict[bool, list[BaseSession]] = {True: [], False: []}
        for session in sessions:
            fates[session.can_be_rebuilt and not self._upkeep.is_closed].append(session)
        return fates[True], fates[False]
