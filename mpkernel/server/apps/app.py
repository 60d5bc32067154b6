"""`App`: one app, what stays while its processes come and go.

    open ─▶ App ─▶ the host that takes sessions (launched when there is none, and may be)
             │  ◀─ died: a record, and the sessions that were on it
             └───▶ those with a journal come back on the next host, the others are told

Whatever happens to an app while sessions wait for a process, `_look` looks at all of it anew and
does the next thing that can be done; where nothing can be done yet, a timer leads there again. What
sessions wait for is listed in `waiting_sessions`; which process takes them, and when one may be
started, is `processes`'; the life of one process is `host`'s.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias
from weakref import WeakValueDictionary

from mpkernel.aio.loops import call_on_loop
from mpkernel.errors import (
    AppUnavailable,
    HostDied,
    HostStartError,
    MPKernelError,
    PoolClosed,
    SandboxError,
    SessionNameTaken,
)
from mpkernel.logs import get_logger
from mpkernel.server.apps.processes import AppProcesses, OnDeath
from mpkernel.server.apps.waiting_sessions import WaitingSessions
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death, Reason
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
        self._named: WeakValueDictionary[str, BaseSession] = WeakValueDictionary()
        self._waiting = WaitingSessions(path, loop, self._look_soon)
        self._next_look: asyncio.Handle | None = None
        self._closed = False

    @property
    def hosts(self) -> list[AppHost]:
        """The hosts that live, the one that takes sessions first."""
        return self._processes.all

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
        return self._closed

    @property
    def is_idle(self) -> bool:
        """Whether another object for the same app would do as well: there is no process, nobody
        waits for one, and no death of late would keep one from starting."""
        return not self._waiting and self._processes.is_calm

    @property
    def is_failed(self) -> bool:
        """Whether the app died too often, and is not started for a while."""
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
            AppUnavailable, HostStartError: as `AppProcesses.host_for`.
            ProtocolError: `kernel.args` is too large for a message.
        """
        self._check_new(session)
        if session.can_be_rebuilt and self.wait_s():
            self._waiting.add(session)
            self._look_soon()
        else:
            is_launch = self._processes.taking is None
            host = self._processes.host_for(kernel)
            if is_launch:
                self._look_soon()  # who waits may come back on it, too
            host.open(session, kernel)
        self._named[session.session_id] = session
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
        if not self.wait_s():
            self._processes.host_for(kernel)
        self._waiting.add(session, death)
        self._look_soon()
        self._named[session.session_id] = session
        self.tallies.sessions += 1

    def _check_new(self, session: BaseSession) -> None:
        if self._closed:
            raise PoolClosed(f"{self.name} was closed with its pool", remedy="open a new pool")
        namesake = self._named.get(session.session_id)
        if namesake is not None and namesake.holds_its_name:
            raise SessionNameTaken(
                f"a session {session.session_id} of {self.name} is open already",
                remedy="close that one first, or choose another session_id",
            )

    def forget(self, session: BaseSession) -> None:
        """A session that waits for a process was closed. From any thread."""
        call_on_loop(self._loop, functools.partial(self._waiting.forget, session))

    def close(self) -> None:
        """`leave`, and start nothing any more."""
        self._closed = True
        self.leave()

    def drain(self) -> None:
        """Start nothing any more, and have every session end with its present command, and every
        process with its last session. Returns at once."""
        self._closed = True
        self._end_waiting(None)
        patience_s = self.settings.drain_grace_s
        run_each(
            [functools.partial(host.drain, patience_s=patience_s) for host in self.hosts],
            "a process could not be told to drain",
        )

    def replace(self) -> None:
        """Have new sessions get a fresh process; each present one leaves with its last session."""
        for host in self.hosts:
            host.drain()

    def restart(self) -> None:
        """Have every process leave in order; sessions with a journal come back on a fresh one. What
        died before is forgotten: an app that died too often may start again."""
        self._processes.forget_deaths()
        what = f"the process of {self.name} was restarted by the server's operator"
        for host in self.hosts:
            host.leave_for(Reason.OPERATOR, HostDied(what, remedy="open the session again"))
        self._look_soon()

    def leave(self) -> None:
        """Have every process leave, and end the sessions that wait for one. Returns at once."""
        self._end_waiting(None)
        run_each([host.leave for host in self.hosts], "a process could not be told to leave")

    def fell(self, host: AppHost, *, by_operator: bool) -> None:
        """A host's: its process ended, and `died` follows, with the reason."""
        self._processes.fell(by_operator=by_operator)

    def died(
        self,
        death: Death,
        error: MPKernelError,
        sessions: list[BaseSession],
        usages: Sequence[Usage],
    ) -> None:
        """A host's: why its process ended, who was on it, and what it had used."""
        self._processes.died(death, sessions, usages)
        logger.warning("%s sessions=%d", death.what, len(sessions), app=self.path, pid=death.pid)
        if isinstance(error, SandboxError):  # the next process would have the same header
            _end_all(sessions, error)
            sessions = []
        coming_back, ending = self._sorted_out(sessions)
        _end_all(ending, error)
        try:
            self._waiting.plan(death, coming_back)
        except Exception:
            logger.exception("what becomes of sessions could not be decided", app=self.path)
            _end_all(coming_back, error)
        self._look_soon()

    def left(self, sessions: list[BaseSession], error: MPKernelError) -> None:
        """A host's: its process left in order, with these still on it. Those with a journal come
        back, unless the app was closed; the others are told this."""
        coming_back, ending = self._sorted_out(sessions)
        _end_all(ending, error)
        for session in coming_back:
            self._waiting.add(session)
        self._look_soon()

    def host_over(self, host: AppHost) -> None:
        """A host's: its process is gone, whatever the reason, and all is cleaned up."""
        self._processes.over(host)

    def _sorted_out(
        self, sessions: list[BaseSession]
    ) -> tuple[list[BaseSession], list[BaseSession]]:
        """Of sessions that have lost their process: those that come back, and those that end."""
        fates: dict[bool, list[BaseSession]] = {True: [], False: []}
        for session in sessions:
            fates[session.can_be_rebuilt and not self._closed].append(session)
        return fates[True], fates[False]

    def _look_soon(self, delay_s: float = 0.0) -> None:
        """Have `_look` called, once, however often this was asked for: the last time counts."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._closed or not self._waiting:
            return
        if delay_s:
            self._next_look = self._loop.call_later(delay_s, self._look)
        else:
            self._next_look = self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Do the next thing for the sessions that wait."""
        self._next_look = None
        if self._closed or self._processes.is_death_untold:  # `died` looks again
            return
        if not self._waiting.anybody_next:  # the end of the trial looks again
            return
        try:
            left_s = self._processes.wait_s()
        except AppUnavailable as error:
            self._end_waiting(error)
            return
        if left_s:
            logger.info("restart in %.1f s", left_s, app=self.path)
            self._look_soon(left_s)
        else:
            self._bring_back()

    def _bring_back(self) -> None:
        try:
            host = self._processes.host_again()
        except PoolClosed as error:
            self._closed = True
            self._end_waiting(error)
            return
        except HostStartError:
            self._look_soon()  # the next look waits until it may be tried again
            return
        self._waiting.bring_back(host)
        self._look_soon()

    def _end_waiting(self, error: MPKernelError | None) -> None:
        _end_all(self._waiting.take_all(), error)
        self._look_soon()


def _end_all(sessions: list[BaseSession], error: MPKernelError | None) -> None:
    for session in sessions:
        # Each its own: exceptions carry the traceback of whoever raises them.
        session.end(None if error is None else type(error)(error.what, remedy=error.remedy))
