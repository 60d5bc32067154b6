"""`DeathEvidence`: collects what is known about the end of a host's process."""

from __future__ import annotations

import asyncio

from mpkernel.aio.patience import patient_timeout
from mpkernel.errors import ClusterError, HostDied, MPKernelError
from mpkernel.logs import get_logger
from mpkernel.server.links.console_tail import ConsoleTail
from mpkernel.server.supervision.deaths import Cause, Death, Reason, reason_of
from mpkernel.server.supervision.exit_status import ExitStatus, OutOfMemory

__all__ = ["DeathEvidence"]

logger = get_logger(__name__)

_PATIENCE_S = 0.2


class DeathEvidence:
    """Collects evidence while the process lives. On the loop's thread, except `console_ended`.

    Args:
        app: absolute path of the app's file.
        name: its short name.
        loop: the running loop.

    Attributes:
        tail: the last lines that the process wrote; None before it has a console.
    """

    def __init__(self, app: str, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.tail: ConsoleTail | None = None
        self._app = app
        self._name = name
        self._loop = loop
        self._fault: tuple[Reason, MPKernelError] | None = None
        self._oom = OutOfMemory()
        self._ended = asyncio.Event()

    def lines(self) -> list[str]:
        """The last lines on the console, and what faulthandler wrote."""
        if self.tail is None:
            return []
        return [*self.tail.lines(), *self.tail.faults().splitlines()]

    def cause(self, status: ExitStatus | None) -> Cause:
        """Who has caused the end of the process.

        Args:
            status: how the process ended; None if that is not known.
        """
        reason, error = self._fault if self._fault is not None else (None, None)
        if reason in (Reason.OPERATOR, Reason.ENVIRONMENT):
            return Cause.OPERATOR
        if isinstance(error, ClusterError) or (status is not None and status.lost):
            return Cause.CLUSTER
        return Cause.APP

    def ended_for(self, reason: Reason, error: MPKernelError) -> None:
        """Note why the server ends the process. Only the first reason counts."""
        if self._fault is None:
            self._fault = (reason, error)

    def answers(self) -> None:
        """The process has answered, so it lives. If the system has killed a process for lack of
        memory until now, it was another one."""
        self._oom.begin_anew()

    def console_ended(self) -> None:
        """Nothing more comes from the process's descriptors. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._ended.set)
        except RuntimeError as error:  # the loop is closed: no session waits for the last line
            logger.debug("%s", error, app=self._app)

    async def arrived(self) -> None:
        """Wait until the last line has been read, for 0.2 s at the longest. If the loop is being
        shut down and cancels this wait, return at once: the sessions must be told of the death in
        any case."""
        try:
            async with patient_timeout(_PATIENCE_S):
                await self._ended.wait()
        except TimeoutError:
            logger.debug("something still holds the console of a dead host", app=self._app)
        except asyncio.CancelledError:
            logger.debug("the loop is shut down before a dead host's last line", app=self._app)

    def death(
        self,
        pid: int,
        status: ExitStatus,
        *,
        python: str | None = None,
        worker: str | None = None,
        pid_on_worker: int | None = None,
    ) -> tuple[Death, MPKernelError]:
        """The record, and the error for sessions that do not come back.

        Args:
            pid, python, worker, pid_on_worker: see `Death`.
            status: how the process ended.
        """
        here = self._oom.happened()
        out_of_memory = here if status.out_of_memory is None else status.out_of_memory
        reason = reason_of(status, out_of_memory=out_of_memory)
        faults = self.tail.faults() if self.tail is not None and reason is Reason.CRASH else ""
        what = f"the process of {self._name} {status}"
        if reason is Reason.OUT_OF_MEMORY:
            what += ", because memory had run out"
        error: MPKernelError = HostDied(what, remedy="open the session again")
        if self._fault is not None:
            reason, error = self._fault
            what = error.what
        death = Death(
            app=self._app,
            pid=pid,
            reason=reason,
            what=what,
            last_lines=tuple(self.tail.lines()) if self.tail is not None else (),
            faults=faults,
            python=python,
            worker=worker,
            pid_on_worker=pid_on_worker,
        )
        return death, error
