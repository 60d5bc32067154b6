"""`Death`: one record of how an app's process ended, for the log, the sessions and the operator."""

from __future__ import annotations

import enum
import signal

from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.wire.for_people import ForPeople

__all__ = ["Cause", "Death", "Reason", "reason_of"]

_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class Reason(enum.Enum):
    """Why a process ended."""

    EXIT = "exit"
    """It left by itself: `os._exit`, a C library's `exit`."""
    CRASH = "crash"
    """A signal that its own code caused, such as SIGSEGV."""
    KILLED = "killed"
    """A signal that another process sent, or whose sender is unknown."""
    OUT_OF_MEMORY = "out of memory"
    """The system killed it for lack of memory."""
    LIMIT = "limit"
    """It was ended because it exceeded a limit of `Settings`."""
    HANG = "hang"
    """It was ended because it did not answer."""
    PROTOCOL = "protocol"
    """It was ended because it sent something malformed."""
    OPERATOR = "operator"
    """An operator restarted it."""
    START = "start"
    """It was not ready in time, or could not be launched."""
    ENVIRONMENT = "environment"
    """The environment that its header names could not be made, or the Python that is named for it
    cannot run it."""
    LOST = "lost"
    """The worker on which it ran, or the connection to it, is lost."""
    UNKNOWN = "unknown"
    """Another part of the program reaped the process, so that its exit status is lost."""

    @property
    def has_report(self) -> bool:
        """Whether the death is reported. A restart by an operator is none, and what is wrong with
        an environment is on the page of its app."""
        return self not in (Reason.OPERATOR, Reason.ENVIRONMENT)


class Cause(enum.Enum):
    """Who has caused the end of a process."""

    APP = "app"
    """The app's own: if it happens too often, the app has failed for a while."""
    OPERATOR = "operator"
    """An operator's, who has restarted it, or is to correct the header of the app."""
    CLUSTER = "cluster"
    """The cluster's: no worker could run it, or it was lost with its worker or the network."""


class Death(ForPeople, frozen=True, kw_only=True):
    """How a process ended.

    Attributes:
        app: absolute path of the app's file.
        pid: the process's id, as `AppHost.pid`; 0 when it could not be launched.
        reason: why it ended, in a word.
        what: why it ended, in a sentence that names the app.
        last_lines: what it wrote last to its descriptors 1 and 2, a line each. Default: nothing.
        faults: what faulthandler wrote of the crash signal that ended the process: a traceback of
            every thread; empty after any other end.
        python: the program of its Python where that is not the server's; else None.
        worker: the address of the worker where it ran; None if it ran on the server's machine, or
            no worker was found for it.
        pid_on_worker: its process id there; None if it was not launched there.
    """

    app: str
    pid: int
    reason: Reason
    what: str
    last_lines: tuple[str, ...] = ()
    faults: str = ""
    python: str | None = None
    worker: str | None = None
    pid_on_worker: int | None = None

    @property
    def report(self) -> str:
        """Everything that is known, as text for an operator."""
        return "\n".join(part for part in (self.what, self.faults, *self.last_lines) if part)


def reason_of(status: ExitStatus, *, out_of_memory: bool) -> Reason:
    """The reason for the end of a process that the server did not end itself, from its exit
    status."""
    if status.lost:
        return Reason.LOST
    if status.code is None:
        return Reason.UNKNOWN
    if status.signal is None:
        return Reason.EXIT
    if status.signal in _CRASH_SIGNALS:
        return Reason.CRASH
    if status.signal == signal.SIGKILL and out_of_memory:
        return Reason.OUT_OF_MEMORY
    return Reason.KILLED
