"""`LocalProcess`: an app host on this machine, as a process of the operating system: how it is
killed and reaped.

A host leads a process group of its own, and its descriptors 1 and 2 are pipes that the server
reads. `local_launcher` starts the process, `pipe_link` sends and receives over its Pipes, and
`host` decides when it is started and ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from multiprocessing.connection import Connection

from mpkernel.aio.forks import release, withhold_from_forks
from mpkernel.errors import ProtocolError, UnfitPython
from mpkernel.host_mark import HostMark
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity, Killed, exists, kill_descendants
from mpkernel.server.launching.handshake import misfit
from mpkernel.server.launching.process import KILLED_WITHIN_S
from mpkernel.server.launching.wrapping import HandedFolder, host_behind
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.server.supervision.strays import end_strays, see_out
from mpkernel.wire.before_host import Hello
from shm.names import tag_of

__all__ = ["LocalProcess"]

logger = get_logger(__name__)

_SYSTEM_TELLS_PARENTS = os.path.exists("/proc/self/task")
"""If not, only the host's process group is killed: a process that has begun a process session of
its own then outlives its host."""


_SIGNAL_IN_EXIT_CODE = 128
"""What shells, and other programs, add to the number of the signal that ended what they started."""


class LocalProcess:
    """A spawned app host and the server's ends of its Pipes. Made by `LocalLauncher`.

    Attributes:
        pid: its process id, which is also that of its process group and its process session.
        python: the program that was launched.
        requirements, environment: see `Process`.
        host_pid, host_tag, folder, elsewhere, is_known: see `Process`.
        control: the control Pipe, which goes both ways.
        stream: the stream Pipe, which goes up only.
        stdout, stderr: read ends of what the host writes to its descriptors 1 and 2.
        faults: read end of what `faulthandler` writes.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        python: str,
        requirements: tuple[str, ...] | None,
        control: Connection,
        stream: Connection,
        read_ends: list[int],
        mark: str,
        *,
        folder: HandedFolder | None = None,
        is_known: bool = True,
        environment: str | None = None,
    ) -> None:
        self._child = child
        self.pid = child.pid
        self.python = python
        self.requirements = requirements
        self.environment = environment
        self.control = control
        self.stream = stream
        self.stdout, self.stderr, self.faults, self._sentinel = read_ends
        self.host_pid = child.pid
        self.host_tag = tag_of(child.pid)
        self.folder = folder
        self.elsewhere = None
        self.is_known = is_known
        self._pidfd = _open_pidfd(self.pid)
        self._server_pid = os.getpid()
        self._mark = mark
        self._host_mark = HostMark.of(self.host_tag)
        self._lock = threading.RLock()  # guards all below: no thread reaps while another one kills
        self._status: ExitStatus | None = None
        self._killed: Killed | None = None  # what it had started, where that was killed with it
        self._is_reaped = False
        self._closed = False
        withhold_from_forks(*self._ends, *self._console)

    @property
    def _ends(self) -> list[int]:
        return [self.control.fileno(), self.stream.fileno(), self.death_fd]

    @property
    def _console(self) -> list[int]:
        return [self.stdout, self.stderr, self.faults]

    @property
    def death_fd(self) -> int:
        """See `Process.death_fd`. It is the pidfd; where there is none, a pipe whose other end the
        process holds."""
        return self._pidfd if self._pidfd is not None else self._sentinel

    def connect(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        events: LinkEvents,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> PipeLink:
        """See `Process.connect`."""
        return PipeLink(
            name,
            self.control,
            self.stream,
            loop,
            events,
            backlog_bytes=backlog_bytes,
            max_frame_bytes=max_frame_bytes,
        )

    def accept(self, hello: Hello) -> UnfitPython | None:
        """See `Process.accept`."""
        if self.is_known:
            raise ProtocolError("it says which Python it has, and was not asked")
        self.is_known = True
        found = host_behind(self.pid, hello)
        if found is None:
            return UnfitPython(
                f"{self.python} was launched, and the Python that answers is not among the"
                " processes that it has started",
                remedy="have this program execute a Python, or start it and wait for it",
            )
        if found.pid != self.pid and not hello.sees_itself:
            return UnfitPython(
                f"{self.python} was launched, and the Python behind it does not see itself in"
                " /proc",
                remedy="have this program mount a /proc for it: bwrap --proc /proc, or unshare"
                " --mount-proc",
            )
        self.host_pid, self.host_tag = found
        self._host_mark = HostMark.of(self.host_tag)
        return misfit(hello, self.python, self.requirements or ())

    def status(self) -> ExitStatus | None:
        """How the process ended; None while it lives. It is not reaped by this."""
        status = self._own_status()
        if self.host_pid == self.pid or status is None or status.code is None:
            return status
        number = status.code - _SIGNAL_IN_EXIT_CODE
        return ExitStatus(-number) if number in signal.valid_signals() else status

    def _own_status(self) -> ExitStatus | None:
        if self._status is None:
            if not hasattr(os, "waitid"):  # macOS before Python 3.13
                code = self._child.poll()
                self._status = ExitStatus(code) if code is not None else None
                return self._status
            try:
                seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                self._status = ExitStatus(None)
            else:
                if seen is not None:
                    killed = seen.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                    self._status = ExitStatus(-seen.si_status if killed else seen.si_status)
        return self._status

    def kill(self) -> None:
        """SIGKILL the host and all that it started. From any thread. Does nothing when it is gone,
        and in a fork of the server: the host is not the fork's."""
        with self._lock:
            if self._is_reaped or os.getpid() != self._server_pid:
                return
            status = self.status()
            if status is not None and status.code is None and exists(self.pid):
                return  # somebody else reaped it, and another process has its id by now
            try:
                if not _SYSTEM_TELLS_PARENTS:
                    os.killpg(self.pid, signal.SIGKILL)
                elif status is None:
                    self._kill_with_descendants()
            except ProcessLookupError:
                pass
            except PermissionError as error:  # macOS raises this for a group of zombies
                logger.debug("killpg refused: %s", error, pid=self.pid)

    def end_strays(self, seen: Iterable[Identity] = ()) -> None:
        """The process has ended: end what it has left running. Blocks for some milliseconds, for
        2 s at the longest: off the loop.

        Args:
            seen: what is known to be the process's.
        """
        if os.getpid() != self._server_pid:
            return
        if self.folder is not None:
            self.folder.remove()
        if self._killed is not None:
            see_out(self._killed)
        elif _SYSTEM_TELLS_PARENTS:
            end_strays(self.pid, self._mark, self._host_mark, seen)

    def reap(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """Kill the host if it lives and reap it; `end_strays` comes next. From any thread.
        Idempotent.

        Blocks for as long as the system takes to end a killed process.

        Args:
            within_s: if it has not ended after so long, it is left as it is, and a warning is
                logged: a process that waits for a broken disk, or that a debugger holds, cannot be
                ended.
        """
        with self._lock:
            if self._is_reaped:
                return
            self.kill()
            try:
                code = self._child.wait(timeout=within_s)
            except subprocess.TimeoutExpired:
                code = None
                logger.warning(
                    "the process was killed and does not end: it is left as it is", pid=self.pid
                )
            if self._status is None:
                self._status = ExitStatus(code)
            self._is_reaped = True

    def close(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """`reap`, and close every descriptor. To be called when nobody watches them any more: the
        system gives their numbers to new ones. Idempotent."""
        self.reap(within_s=within_s)
        with self._lock:
            if self._closed:
                return
            self._closed = True
        release(*self._ends)
        if self._pidfd is not None:
            os.close(self._pidfd)
        _close_all([self.control, self.stream, self._sentinel])

    def _kill_with_descendants(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)  # stopped, it starts nothing meanwhile
        if self._killed is None:
            self._killed = kill_descendants(self.pid)
        if self._killed.trackers:
            os.kill(self.pid, signal.SIGKILL)
        else:  # the group: it includes what the host was about to start when it was stopped
            os.killpg(self.pid, signal.SIGKILL)

    def close_console(self) -> None:
        """Close the read ends of the console pipes. To be called when their reader is done."""
        release(*self._console)
        _close_all(self._console)


def _open_pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):  # no Linux, or a Python that was built on an old Linux
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        logger.debug("no pidfd, the sentinel pipe is used instead: %s", error, pid=pid)
        return None


def _close_all(descriptors: Iterable[Connection | int]) -> None:
    """Close descriptors, be they numbers or ends of Pipes."""
    for descriptor in descriptors:
        if isinstance(descriptor, int):
            os.close(descriptor)
        else:
            descriptor.close()
