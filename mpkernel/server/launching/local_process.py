"""`HostProcess`: an app host as the operating system sees it. Launch, death, reaping.

A host leads a process group of its own, and its descriptors 1 and 2 are pipes that the server
reads. How it is spawned is `launch`'s, what goes over the Pipes `pipe_link`'s, when to start or end
a host `host`'s.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from multiprocessing import context
from multiprocessing.connection import Connection
from typing import Any, cast

from mpkernel.host_mark import HostMark
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity, Killed, kill_descendants
from mpkernel.program import enter
from mpkernel.server.launching.descriptor_limit import limit_of_apps
from mpkernel.server.launching.interpreter import start_error
from mpkernel.server.launching.launch import launch
from mpkernel.server.links.sockets import socket_of
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.server.supervision.strays import MARK, end_strays, new_mark, see_out

__all__ = ["KILLED_WITHIN_S", "HostProcess"]

logger = get_logger(__name__)

_SYSTEM_TELLS_PARENTS = os.path.exists("/proc/self/task")
"""Else a process group has to do: what begins a session of its own outlives its host."""

HOST_ENTRY = "mpkernel.host.main:main"

KILLED_WITHIN_S = 5.0
"""How long a process that was killed is waited for."""

_SOCKET_BYTES = 512 * 1024


class HostProcess:
    """A spawned app host and the server's ends of its Pipes. Made by `launch`.

    Attributes:
        pid: its process id, which is its process group's and its session's too.
        python: the program that was launched.
        started_at: `time.time()` of the launch.
        control: both ways.
        stream: up only.
        stdout, stderr: read ends of what the host writes to its descriptors 1 and 2.
        faults: read end of what `faulthandler` writes.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        control: Connection,
        stream: Connection,
        read_ends: list[int],
        mark: str,
    ) -> None:
        self._child = child
        self.pid = child.pid
        self.python = cast(list[str], child.args)[0]
        self.started_at = time.time()
        self.control = control
        self.stream = stream
        self.stdout, self.stderr, self.faults, self._sentinel = read_ends
        self._pidfd = _open_pidfd(self.pid)
        self._mark = mark
        self._host_mark = HostMark.of_host(self.pid)
        self._lock = threading.RLock()  # guards all below: nobody reaps while another one kills
        self._status: ExitStatus | None = None
        self._killed: Killed | None = None  # what it had started, if it was killed with it
        self._is_reaped = False
        self._closed = False

    @classmethod
    def launch(cls, name: str, *, env: Mapping[str, str] | None = None) -> HostProcess:
        """Spawn a host. Returns in about a millisecond, long before the host is ready.

        Args:
            name: the process's name, for logs.
            env: its environment, to which a mark is added. Default: the server's own.

        Raises:
            HostStartError: the operating system refused (out of processes, memory, descriptors), or
                there is no Python to launch.
        """
        ours: list[Connection | int] = []
        theirs: list[Connection | int] = []
        try:
            mark = new_mark()
            control, host_control = multiprocessing.Pipe(duplex=True)
            ours.append(control)
            theirs.append(host_control)
            # Used one way only, but a duplex Pipe moves large frames two to three times as fast.
            stream, host_stream = multiprocessing.Pipe(duplex=True)
            ours.append(stream)
            theirs.append(host_stream)
            console: list[int] = []
            for _ in range(4):
                read_end, write_end = os.pipe()
                console.append(read_end)
                ours.append(read_end)
                theirs.append(write_end)
            _enlarge(control, host_stream)
            stdout, stderr, faults, sentinel = cast(list[int], theirs[2:])
            child = launch(
                name,
                _program(
                    name,
                    (
                        HOST_ENTRY,
                        host_control.fileno(),
                        host_stream.fileno(),
                        faults,
                        sentinel,
                        os.getpid(),
                        limit_of_apps(),
                    ),
                ),
                descriptors=(host_control.fileno(), host_stream.fileno(), faults, sentinel),
                stdio=(subprocess.DEVNULL, stdout, stderr),
                env={**(os.environ if env is None else env), MARK: mark},
                preparation={"name": name, "authkey": os.urandom(32)},
            )
        except OSError as error:
            _close_all(ours)
            raise start_error(name, error) from error
        except BaseException:
            _close_all(ours)
            raise
        finally:
            _close_all(theirs)
        return cls(child, control, stream, console, mark)

    @property
    def death_fd(self) -> int:
        """A descriptor that becomes readable when the process ends."""
        return self._pidfd if self._pidfd is not None else self._sentinel

    def status(self) -> ExitStatus | None:
        """How the process ended; None while it lives. Leaves it unreaped."""
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
        """SIGKILL the host and all that it started, from any thread. Harmless when it is gone."""
        with self._lock:
            if self._is_reaped:
                return
            status = self.status()
            if status is not None and status.code is None and _exists(self.pid):
                return  # reaped by somebody else, and the number belongs to another process by now
            try:
                if not _SYSTEM_TELLS_PARENTS:
                    os.killpg(self.pid, signal.SIGKILL)
                elif status is None:
                    self._kill_with_descendants()
            except ProcessLookupError:
                pass
            except PermissionError as error:  # macOS says so of a group of zombies
                logger.debug("killpg refused: %s", error, pid=self.pid)

    def end_strays(self, seen: Iterable[Identity] = ()) -> None:
        """The process has ended: end what it has left running. Blocks for some milliseconds, for
        2 s at the longest: off the loop.

        Args:
            seen: what is known to be the process's.
        """
        if self._killed is not None:
            see_out(self._killed)
        elif _SYSTEM_TELLS_PARENTS:
            end_strays(self.pid, self._mark, self._host_mark, seen)

    def reap(self, *, within_s: float = KILLED_WITHIN_S) -> None:
        """Kill the host if it lives and reap it; `end_strays` comes next. From any thread.
        Idempotent.

        Blocks for as long as the system takes to end a killed process.

        Args:
            within_s: after so long without its end, it is left as it is, with a warning: a process
                that waits for a broken disk, or that a debugger holds, cannot be killed for now.
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
        """`reap`, and close every descriptor. When nobody watches them any more: their numbers are
        others' from then on. Idempotent."""
        self.reap(within_s=within_s)
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._pidfd is not None:
            os.close(self._pidfd)
        _close_all([self.control, self.stream, self._sentinel])

    def _kill_with_descendants(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)  # it shall start nothing meanwhile
        if self._killed is None:
            self._killed = kill_descendants(self.pid)
        if self._killed.trackers:
            os.kill(self.pid, signal.SIGKILL)
        else:  # with what it was about to start when it was stopped
            os.killpg(self.pid, signal.SIGKILL)

    def close_console(self) -> None:
        """Close the read ends of the console pipes, when their reader is done with them."""
        _close_all([self.stdout, self.stderr, self.faults])


def _program(name: str, entry_args: tuple[Any, ...]) -> context.SpawnProcess:
    """What is unpickled in the host: nothing that would import the server's half there."""
    # No daemon, even where the server is one: an app may have children.
    program = context.SpawnProcess(target=enter, args=entry_args, name=name, daemon=False)
    program.authkey = os.urandom(32)
    # With None, `_bootstrap` leaves the start method as a fresh interpreter has it.
    program._start_method = None  # type: ignore[assignment]
    return program


def _open_pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):  # no Linux, or a Python that was built on an old one
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        logger.debug("no pidfd, the sentinel has to do: %s", error, pid=pid)
        return None


def _enlarge(*ends: Connection) -> None:
    """Ask for larger Pipe buffers; what the system grants has to do."""
    for connection in ends:
        with socket_of(connection) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _close_all(descriptors: list[Any]) -> None:
    for descriptor in descriptors:
        if isinstance(descriptor, int):
            os.close(descriptor)
        else:
            descriptor.close()
