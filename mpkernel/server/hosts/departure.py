"""`Departure`: how a healthy host becomes ready, drains and leaves, and how long each may take.

    drain ─▶ no new sessions; it leaves with the last ──┐
    idle for `idle_retire_s`, if the app allows it ─────┼─▶ told to end in order, killed after
    leave, with all sessions ───────────────────────────┘   `stop_grace_s`

To leave means to end in order, because the server has asked for it. There is one timer, and the
state says what is done when its time is over: while the environment of the app is made, it is
checked whether a session still waits for it; a host that starts has not been ready in time; a host
without sessions retires; a host that leaves is killed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable

from mpkernel.aio.patience import PatientTimer
from mpkernel.errors import MPKernelError
from mpkernel.logs import get_logger
from mpkernel.server.hosts.lifecycle import Event, Lifecycle, State
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.launching.process import Process
from mpkernel.server.sessions.app_and_host import AppOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.death_evidence import DeathEvidence
from mpkernel.server.supervision.deaths import Reason
from mpkernel.steps import run_each
from mpkernel.wire.messages import Shutdown

__all__ = ["Departure"]

logger = get_logger(__name__)

_REASON_CHARS = 200
_LOOK_EVERY_S = 0.5
_ASK_AGAIN_S = 1.0


class Departure:
    """How one host starts and leaves. On the loop's thread.

    Args:
        app: absolute path of the app's file.
        process: the host's process.
        life: the state that the host is in.
        table: its sessions.
        evidence: is told why the process is ended.
        loop: the running loop.
        tell: called with the message that asks the process to end.
        may_retire: whether it may leave when it has been idle.
        on_change: called when it became ready, and when it takes no sessions any more.
    """

    def __init__(
        self,
        app: AppOfSession[BaseSession],
        process: Process,
        life: Lifecycle,
        table: SessionTable,
        evidence: DeathEvidence,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Shutdown], None],
        may_retire: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._app = app.path
        self._settings = app.settings
        self._tallies = app.tallies
        self._process = process
        self._life = life
        self._table = table
        self._evidence = evidence
        self._loop = loop
        self._tell = tell
        self._may_retire = may_retire
        self._on_change = on_change
        self._timer: PatientTimer | None = None
        self._started_at = time.monotonic()
        self._on_start_timeout: Callable[[], None] = lambda: None
        self._is_ready = False
        self.is_preparing = False

    def starting(self, on_timeout: Callable[[], None]) -> None:
        """The process was told which app to run: it has `start_timeout_s` to be ready."""
        self._on_start_timeout = on_timeout
        self._start_timer(self._settings.start_timeout_s, self._start_timed_out)

    def preparing(self, *, is_placed: bool) -> None:
        """The environment of the app is being made, or the app waits for a machine. This may take
        as long as a session waits for the app.

        Args:
            is_placed: whether the process was launched on its machine.
        """
        if self.is_preparing or self._life.state not in (State.STARTING, State.DRAINING):
            return
        self.is_preparing = True
        what = (
            "the environment is made" if is_placed else "the app waits for a worker of the cluster"
        )
        logger.info("%s", what, app=self._app, pid=self._process.pid)
        self._start_timer(_LOOK_EVERY_S, self._look_who_waits)

    def prepared(self) -> None:
        """The environment is complete: the process starts only now."""
        if not self.is_preparing:
            return
        self.is_preparing = False
        if self._life.state in (State.STARTING, State.DRAINING):
            self._started_at = time.monotonic()
            self._start_timer(self._settings.start_timeout_s, self._start_timed_out)

    def became_ready(self) -> None:
        """The process is ready to take sessions."""
        self._is_ready = True
        if self._life.state is not State.STARTING:
            return  # it drains, or was asked to leave
        self._life.apply(Event.READY)
        self._tallies.host_start.observe(time.monotonic() - self._started_at)
        self.stop_timer()
        self._retire_when_idle()
        self._on_change()

    def wanted(self, reason: str) -> None:
        """The process has asked to get no more sessions (`WantDrain`)."""
        if self._life.state in (State.STARTING, State.READY):
            said = " ".join(reason[:_REASON_CHARS].split())
            logger.warning("host drains: %s", said, app=self._app, pid=self._process.pid)
            self.drain()

    def session_ended(self) -> None:
        """A session was removed from the table. It may have been the last one."""
        self._leave_if_drained()
        self._retire_when_idle()

    def drain(self, patience_s: float | None = None) -> None:
        """Take no more sessions, and leave when the last one has ended.

        Args:
            patience_s: end each session after its present command, and interrupt that command after
                so many seconds; their copies on the disk stay. Default: sessions end when their
                clients close them.
        """
        if self._life.is_over:
            return
        self._life.apply(Event.DRAIN)
        self._on_change()
        if patience_s is not None:
            run_each(
                [
                    functools.partial(session.stop, patience_s=patience_s, may_come_back=True)
                    for session in self._table.sessions
                ],
                "a session could not be told to stop",
            )
        self._leave_if_drained()

    def leave(self) -> None:
        """Leave now, with all sessions."""
        if self._may_leave:
            self._life.apply(Event.LEAVE)
            self._on_change()
            self._shut_down()

    def leave_for(self, reason: Reason, error: MPKernelError) -> None:
        """Leave now, for a reason that the sessions and the log are told. Sessions with a journal
        come back on another process, as after a death."""
        if self._may_leave:
            self._evidence.ended_for(reason, error)
            self._life.apply(Event.DRAIN)
            self._on_change()
            self._shut_down()

    def stop_timer(self) -> None:
        """Stop the timer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _may_leave(self) -> bool:
        return not self._life.is_over and self._life.state is not State.LEAVING

    def _start_timed_out(self) -> None:
        """Sessions of a process that drains wait for its start, too."""
        if not self._is_ready:
            self._on_start_timeout()

    def _leave_if_drained(self) -> None:
        if not self._table and self._life.state is State.DRAINING:
            self.leave()

    def _retire_when_idle(self) -> None:
        idle_s = self._settings.idle_retire_s
        if self._table or idle_s is None or self._life.state is not State.READY:
            return
        self._start_timer(idle_s, self._retire)

    def _look_who_waits(self) -> None:
        """End the process when no session waits for it any more. It cannot be asked to leave,
        because it reads nothing while it makes the environment."""
        is_wanted = not self._may_retire()
        if is_wanted or any(session.holds_its_name for session in self._table.sessions):
            self._start_timer(_LOOK_EVERY_S, self._look_who_waits)
            return
        logger.info("nobody waits for the environment", app=self._app, pid=self._process.pid)
        for session in self._table.take_all():
            session.end(None)
        self.leave()
        self._process.kill()

    def _retire(self) -> None:
        if self._table or self._life.state is not State.READY:
            return
        if not self._may_retire():
            self._start_timer(max(self._settings.idle_retire_s or 0.0, _ASK_AGAIN_S), self._retire)
        else:
            logger.info("host retired, it has no sessions", app=self._app, pid=self._process.pid)
            self.leave()

    def _shut_down(self) -> None:
        """Have the process end in order, or be killed when it takes too long."""
        self._tell(Shutdown(self._settings.stop_grace_s))
        self._start_timer(self._settings.stop_grace_s, self._process.kill)

    def _start_timer(self, delay_s: float, call: Callable[[], None]) -> None:
        self.stop_timer()
        self._timer = PatientTimer(self._loop, delay_s, call)
