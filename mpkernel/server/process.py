"""`HostProcess`: an app host as the operating system sees it. Launch, death, reaping.

The launch is `multiprocessing`'s *spawn*, with these differences, each of which the stock launch
gets wrong for a host (see `_HostPopen`): no `__main__` of the server is run in the host, the
host's start method and authkey are those of a fresh interpreter, its resource tracker is its own,
it leads a session of its own, and its descriptors 1 and 2 are pipes that the server reads.

What goes over the Pipes is `link`'s; when to start or end a host is `host`'s.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing import context, popen_spawn_posix, process, reduction, spawn
from multiprocessing.connection import Connection
from typing import Any, cast

from mpkernel.errors import HostStartError
from mpkernel.spec import enter

__all__ = ["ExitStatus", "HostProcess"]

logger = logging.getLogger(__name__)

HOST_ENTRY = "mpkernel.host.main:main"

# The child does not read yet when this is written; more than a pipe takes would block the loop.
_MAX_PREPARATION_BYTES = 60_000

_PIPE_BYTES = 1024 * 1024
_SOCKET_BYTES = 1024 * 1024


class ExitStatus:
    """How a process ended, as far as it can be known.

    Attributes:
        code: the exit code; negative for the signal that killed it; None when somebody else reaped
            the process.
    """

    def __init__(self, code: int | None) -> None:
        self.code = code

    def __str__(self) -> str:
        if self.code is None:
            return "ended in a way that could not be seen"
        if self.code >= 0:
            return f"left with exit code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class HostProcess:
    """A spawned app host and the server's ends of its Pipes. Made by `launch`.

    Attributes:
        pid: its process id, which is its process group's and its session's too.
        started_at: `time.time()` of the launch.
        control: both ways.
        stream: up only.
        stdout, stderr: read ends of what the host writes to its descriptors 1 and 2.
        faults: read end of what `faulthandler` writes.
    """

    def __init__(
        self,
        spawned: _SpawnedHost,
        control: Connection,
        stream: Connection,
        read_ends: list[int],
    ) -> None:
        popen = spawned.popen
        self._spawned = spawned
        self._child = popen.child
        self.pid = popen.child.pid
        self.started_at = time.time()
        self.control = control
        self.stream = stream
        self.stdout, self.stderr, self.faults, self._sentinel = read_ends
        self._pidfd = _open_pidfd(self.pid)
        self._status: ExitStatus | None = None
        self._closed = False

    @classmethod
    def launch(cls, name: str, *, env: Mapping[str, str] | None = None) -> HostProcess:
        """Spawn a host. Returns in about a millisecond, long before the host is ready.

        Args:
            name: the process's name, for logs.
            env: its environment. Default: the server's own.

        Raises:
            HostStartError: the operating system refused (out of processes, memory, descriptors).
        """
        ours: list[Connection | int] = []
        theirs: list[Connection | int] = []
        try:
            control, host_control = multiprocessing.Pipe(duplex=True)
            ours.append(control)
            theirs.append(host_control)
            stream, host_stream = multiprocessing.Pipe(duplex=False)
            ours.append(stream)
            theirs.append(host_stream)
            console: list[int] = []
            for _ in range(4):
                read_end, write_end = os.pipe()
                console.append(read_end)
                ours.append(read_end)
                theirs.append(write_end)
            _enlarge(control, stream)
            stdout, stderr, faults, sentinel = cast(list[int], theirs[2:])
            spawned = _SpawnedHost(
                name=name,
                entry_args=(
                    HOST_ENTRY,
                    host_control.fileno(),
                    host_stream.fileno(),
                    faults,
                    sentinel,
                    os.getpid(),
                ),
                descriptors=(host_control.fileno(), host_stream.fileno(), faults, sentinel),
                console=(stdout, stderr),
                env=env,
            )
            spawned.start()
        except OSError as error:
            _close_all(ours)
            raise HostStartError(
                f"no process could be launched for {name}: {error}",
                remedy="look at the limits on processes, memory and descriptors of this user",
            ) from error
        except BaseException:
            _close_all(ours)
            raise
        finally:
            _close_all(theirs)
        # Nobody but its pool ends a host: the server's own exit must not join it.
        process._children.discard(spawned)  # type: ignore[attr-defined]
        return cls(spawned, control, stream, console)

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
        """SIGKILL the host and all of its process group. Harmless when it is gone."""
        if self._closed:
            return
        status = self.status()
        if status is not None and status.code is None and _exists(self.pid):
            return  # reaped by somebody else, and the number belongs to another process by now
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError as error:  # macOS says so of a group of zombies
            logger.debug("killpg refused: %s pid=%d", error, self.pid)

    def close(self) -> None:
        """Kill what is left of the host's group, reap the host, close every descriptor.

        Blocks for as long as the kernel takes to end a killed process. Idempotent.
        """
        if self._closed:
            return
        self.kill()
        code = self._child.wait()
        if self._status is None:
            self._status = ExitStatus(code)
        self._closed = True
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._spawned.popen.returncode = self._child.returncode
        _close_all([self.control, self.stream, self._sentinel])

    def close_console(self) -> None:
        """Close the read ends of the console pipes, when their reader is done with them."""
        _close_all([self.stdout, self.stderr, self.faults])


class _HostPopen(popen_spawn_posix.Popen):
    """Spawn's Popen with a launch of our own. `child` is what was executed."""

    child: subprocess.Popen[bytes]

    def _launch(self, process_obj: _SpawnedHost) -> None:
        payload = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump(_preparation_of(process_obj.name), payload)
            reduction.dump(process_obj.for_child(), payload)
        finally:
            context.set_spawning_popen(None)
        if payload.tell() > _MAX_PREPARATION_BYTES:
            raise HostStartError(
                f"sys.path and the like of this server take {payload.tell()} bytes,"
                f" {_MAX_PREPARATION_BYTES} can be handed to {process_obj.name}",
                remedy="shorten sys.path",
            )
        child_reads, we_write = os.pipe()
        try:
            stdout, stderr = process_obj.console
            self.child = subprocess.Popen(
                spawn.get_command_line(tracker_fd=None, pipe_handle=child_reads),
                executable=os.fsdecode(spawn.get_executable()),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=process_obj.env,
                pass_fds=(*process_obj.descriptors, child_reads),
                start_new_session=True,
            )
            self.pid = self.child.pid
            self.sentinel = -1  # never waited for through multiprocessing
            try:
                with open(we_write, "wb", closefd=False) as pipe:
                    pipe.write(payload.getbuffer())
            except BrokenPipeError:  # it has died already
                self.child.wait()
                raise
        finally:
            os.close(child_reads)
            os.close(we_write)


def _preparation_of(name: str) -> dict[str, Any]:
    """What `spawn.prepare` shall set in the child: nothing of the server's `__main__`, its
    arguments, start method or authkey. `spawn.get_preparation_data` is not asked, because that
    settles the start method of the server as well."""
    directory = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return {
        "name": name,
        "authkey": os.urandom(32),
        "sys_path": [directory if path == "" else path for path in sys.path],
    }


class _SpawnedHost(context.SpawnProcess):
    """The server's process object. The child gets a stock one, made by `for_child`."""

    def __init__(
        self,
        *,
        name: str,
        entry_args: tuple[Any, ...],
        descriptors: tuple[int, ...],
        console: tuple[int, int],
        env: Mapping[str, str] | None,
    ) -> None:
        super().__init__(name=name, daemon=False)
        self.entry_args = entry_args
        self.descriptors = descriptors
        self.console = console
        self.env = dict(env) if env is not None else None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _HostPopen(process_obj)

    @property
    def popen(self) -> _HostPopen:
        """What `start` launched."""
        return cast(_HostPopen, vars(self)["_popen"])

    def for_child(self) -> context.SpawnProcess:
        """What is unpickled in the host: nothing that would import the server's half there."""
        child = context.SpawnProcess(target=enter, args=self.entry_args, name=self.name)
        child.authkey = os.urandom(32)
        # With None, `_bootstrap` leaves the start method as a fresh interpreter has it.
        child._start_method = None  # type: ignore[assignment]
        return child


def _open_pidfd(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        logger.debug("no pidfd, the sentinel has to do: %s pid=%d", error, pid)
        return None


def _enlarge(control: Connection, stream: Connection) -> None:
    """Ask for larger Pipe buffers; what the system grants has to do."""
    import fcntl
    import socket

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError as error:
            logger.debug("the stream Pipe keeps its size: %s", error)
    with socket.socket(fileno=os.dup(control.fileno())) as end:
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
