"""`Health`: knows whether a host's process is well, and ends it if it is not.

    the watchdog's verdicts ─┐
    its answers to pings     │
    what it sends            ├─▶ Health ─▶ take no new sessions · drain · kill, for a reason
    a Pipe that it closes    │
    a start without an end  ─┘

The sessions, the log and the crash report are told the reason of a kill.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mpkernel.aio.patience import PatientTimer
from mpkernel.errors import HostDied, HostStartError, MPKernelError, ProtocolError
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.hosts.lifecycle import Lifecycle, State
from mpkernel.server.launching.interpreter import never_ready, unfit
from mpkernel.server.launching.process import Process, launched_as
from mpkernel.server.sessions.app_and_host import AppOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.death_evidence import DeathEvidence
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.usage import Usage
from mpkernel.server.supervision.verdicts import Action, HostWatch, Verdict
from mpkernel.server.supervision.watchdog import Watchdog

__all__ = ["Health"]

logger = get_logger(__name__)

_HANG_UP_GRACE_S = 1.0


class Health:
    """The health of one host. On the loop's thread, except `end_for`.

    Args:
        app: absolute path of the app's file.
        process: the host's process.
        life: the state that the host is in.
        evidence: is told why the process is ended.
        watchdog: samples and pings the process.
        loop: the running loop.
        send_ping: called with the number of a ping that is to be sent to the process.
        drain: called when the host is to be replaced by another.

    Attributes:
        refusal: why the host takes no new sessions although it lives; None if it takes them.
    """

    def __init__(
        self,
        app: AppOfSession[BaseSession],
        process: Process,
        life: Lifecycle,
        evidence: DeathEvidence,
        watchdog: Watchdog[Health],
        loop: asyncio.AbstractEventLoop,
        send_ping: Callable[[int], None],
        drain: Callable[[], None],
    ) -> None:
        self.refusal: str | None = None
        self._app = app.path
        self._name = app.name
        self._settings = app.settings
        self._tallies = app.tallies
        self._process = process
        self._life = life
        self._evidence = evidence
        self._watchdog = watchdog
        self._loop = loop
        self._send_ping = send_ping
        self._drain = drain
        self._watch: HostWatch
        self._is_condemned = False

    @property
    def usages(self) -> tuple[Usage, ...]:
        """The latest looks at what the process uses, the oldest first."""
        return self._watch.history

    @property
    def cpus(self) -> float | None:
        """How many processors the process used between the last two samples; None before the second
        one."""
        return self._watch.cpus

    @property
    def started(self) -> list[Identity]:
        """The processes that the host has started, as far as they were seen."""
        return self._watchdog.processes_of(self)

    def watch(self) -> None:
        """Have the watchdog watch the process from now on.

        Raises:
            OSError: no descriptor is left to look at the process.
        """
        self._watch = self._watchdog.watch(
            self, self._process.pid, self._settings, self._process.elsewhere
        )

    def found(self, pid: int) -> None:
        """The host itself is this process: a wrapper has started it."""
        self._watchdog.found(self, pid)

    def unwatch(self) -> None:
        """Have the watchdog watch the process no more. Idempotent."""
        self._watchdog.unwatch(self)

    @property
    def answers_pings(self) -> bool:
        """Whether the process's dispatcher runs."""
        return self._life.state in (State.READY, State.DRAINING)

    def ping(self, number: int) -> None:
        """Ask the process to answer."""
        self._send_ping(number)

    def ponged(self, number: int) -> None:
        """The process answers the ping of this number.

        Raises:
            ProtocolError: no such ping was sent, or it was answered already.
        """
        if not self._watch.ponged(number):
            raise ProtocolError(f"it answers ping {number}, which nobody sent or it has answered")
        self._evidence.answers()
        self._tallies.ping.observe(time.monotonic() - self._watch.pinged_at)

    def judged(self, verdict: Verdict) -> None:
        """Do what the watchdog's verdict says."""
        logger.warning(
            "the process of %s %s",
            self._name,
            verdict.what,
            app=self._app,
            pid=self._process.pid,
        )
        match verdict.action:
            case Action.REFUSE:
                self.refusal = f"its process {verdict.what}"
            case Action.ACCEPT:
                self.refusal = None
            case Action.REPLACE:
                self._drain()
            case Action.RESTART:
                what = f"the process of {self._name} {verdict.what}, and was ended"
                self.end_for(verdict.reason, HostDied(what, remedy="open the session again"))

    def condemn(self, error: ProtocolError) -> None:
        """End the process because of what it sent."""
        if self._is_condemned:
            return
        self._is_condemned = True
        logger.warning(
            "host ended for what it sent: %s", error, app=self._app, pid=self._process.pid
        )
        what = f"the process of {self._name} was ended for what it sent: {error.what}"
        self.end_for(Reason.PROTOCOL, ProtocolError(what, remedy=error.remedy))

    def hung_up(self) -> None:
        """The process has closed a Pipe: it is about to end, or is of no use without the Pipe."""
        PatientTimer(self._loop, _HANG_UP_GRACE_S, self._end_if_it_lives)

    def start_timed_out(self) -> None:
        """The process was not ready within `Settings.start_timeout_s`."""
        if self._life.state in (State.STARTING, State.DRAINING):
            self.end_for(
                Reason.START,
                HostStartError(
                    f"the process of {self._name} was not ready within"
                    f" {self._settings.start_timeout_s:g} s",
                    remedy="look at its last output, or raise start_timeout_s; it was launched as"
                    f" {launched_as(self._process)}",
                ),
            )

    def died(self) -> None:
        """The process has ended. If it was never ready, note that as the reason."""
        status = self._process.status()
        if self._life.state is not State.STARTING or status is None:
            return
        if not self._process.is_known and status.code is not None and status.code >= 0:
            misfit = unfit(self._name, status, launched_as(self._process))
            self._evidence.ended_for(Reason.ENVIRONMENT, misfit)
            return
        error = never_ready(self._name, status, launched_as(self._process))
        if error is not None:
            self._evidence.ended_for(Reason.START, error)

    def end_for(self, reason: Reason, error: MPKernelError) -> None:
        """Kill the process, for a reason that its sessions and the log are told. From any
        thread."""
        self._evidence.ended_for(reason, error)
        self._process.kill()

    def _end_if_it_lives(self) -> None:
        if self._process.status() is not None:
            return  # it has ended, and its last messages are being taken in
        if not self._life.is_over and self._life.state is not State.LEAVING:
            self.condemn(ProtocolError("it has closed a Pipe, and goes on"))
