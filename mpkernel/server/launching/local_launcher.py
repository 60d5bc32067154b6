"""`LocalLauncher`: starts app hosts on this machine, and makes their Pipes.

`launch` does the spawn itself. `local_process` is the process from then on.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import socket
import subprocess
from contextlib import ExitStack
from multiprocessing import context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

from mpkernel.program import enter
from mpkernel.server.launching.descriptor_limit import limit_of_apps
from mpkernel.server.launching.handshake import name_in
from mpkernel.server.launching.interpreter import other_start_error, start_error
from mpkernel.server.launching.launch import Stdio, launch, launch_other
from mpkernel.server.launching.local_process import LocalProcess
from mpkernel.server.launching.other_python import Call
from mpkernel.server.launching.process import ProcessToLaunch
from mpkernel.server.launching.wrapping import HandedFolder, Wrapper, handed_folder
from mpkernel.server.links.sockets import socket_of
from mpkernel.server.supervision.strays import MARK, new_mark
from mpkernel.settings import Settings

__all__ = ["LocalLauncher"]

_HOST_ENTRY = "mpkernel.host.start:start"
_SAYING_HELLO = "mpkernel.host.entering:enter"
_SOCKET_BYTES = 512 * 1024


class _HostEnds(NamedTuple):
    """The descriptors that a host gets; `folder` is None if it gets no folder."""

    control: int
    stream: int
    stdout: int
    stderr: int
    faults: int
    sentinel: int
    folder: int | None

    @property
    def stdio(self) -> Stdio:
        """Its standard descriptors."""
        return subprocess.DEVNULL, self.stdout, self.stderr

    @property
    def handed_over(self) -> tuple[int, ...]:
        """The others."""
        pipes = (self.control, self.stream, self.faults, self.sentinel)
        return pipes if self.folder is None else (*pipes, self.folder)


class LocalLauncher:
    """The `Launcher` of this machine.

    Attributes:
        current_folder: that of the processes. Default: None, this process's own.
    """

    current_folder: str | None = None

    def is_local(self, settings: Settings) -> bool:
        """See `Launcher.is_local`."""
        return True

    def close(self) -> None:
        """Nothing is open."""

    def launch(self, order: ProcessToLaunch) -> LocalProcess:
        """See `Launcher.launch`. Takes about a millisecond.

        Raises:
            HostStartError: the operating system refused (out of processes, memory, descriptors), or
                there is no Python to launch.
        """
        python, wrapper = order.python, order.wrapper
        # The host's ends are closed here in any case, the server's only if there is no host.
        with ExitStack() as theirs, ExitStack() as ours:
            try:
                mark = new_mark()
                folder = _folder_behind(wrapper, ours, theirs)
                (control, host_control), (stream, host_stream) = self._pipes(ours, theirs)
                reads, (stdout, stderr, faults, sentinel) = _reports(ours, theirs)
                ends = _HostEnds(
                    host_control.fileno(),
                    host_stream.fileno(),
                    stdout,
                    stderr,
                    faults,
                    sentinel,
                    folder.fd if folder is not None else None,
                )
                child, program = self._child(order, ends, mark)
                if folder is not None:
                    folder.belong_to(child.pid)
            except OSError as error:
                raise start_error(order.name, error) from error
            ours.pop_all()
        return LocalProcess(
            child,
            program,
            python.requirements if python is not None else None,
            control,
            stream,
            reads,
            mark,
            folder=folder,
            is_known=python is None and wrapper is None,
            environment=python.folder if python is not None else None,
        )

    def _child(
        self, order: ProcessToLaunch, ends: _HostEnds, mark: str
    ) -> tuple[subprocess.Popen[bytes], str]:
        """Start the process.

        Args:
            order: what is launched.
            ends: its descriptors.
            mark: see `strays`.

        Returns:
            The process, and its Python with the command that has started it.

        Raises:
            OSError: the operating system refused.
            HostStartError: the wrapper or another Python cannot be executed.
        """
        name, python, wrapper = order.name, order.python, order.wrapper
        command = wrapper.command if wrapper is not None else ()
        env = {**(os.environ if order.env is None else order.env), MARK: mark}
        # Behind a wrapper, the process may have another number for its server, or none.
        server_pid = os.getpid() if wrapper is None else None
        pipes = (ends.control, ends.stream, ends.faults, ends.sentinel)
        arguments = (*pipes, server_pid, limit_of_apps(), ends.folder)
        other = python.python(ends.stream) if python is not None else None
        try:
            if python is None or other is None:
                entry_args: tuple[Any, ...] = (_HOST_ENTRY, *arguments)
                if wrapper is not None:
                    entry_args = (_SAYING_HELLO, _HOST_ENTRY, arguments, ends.stream, ())
                child = launch(
                    name,
                    _program(name, entry_args),
                    descriptors=ends.handed_over,
                    stdio=ends.stdio,
                    env=env,
                    preparation={"name": name, "authkey": os.urandom(32)},
                    wrapper=command,
                    folder=self.current_folder,
                )
            else:
                required = tuple(map(name_in, python.requirements))
                child = launch_other(
                    other,
                    Call(_HOST_ENTRY, arguments, ends.stream, required),
                    descriptors=ends.handed_over,
                    stdio=ends.stdio,
                    env=env,
                    wrapper=command,
                    folder=self.current_folder,
                )
        except OSError as error:
            if wrapper is not None and error.filename == wrapper.command[0]:
                raise wrapper.error(name, error) from error
            if other is not None:
                raise other_start_error(name, error, other.path) from error
            raise
        program = other.path if other is not None else cast(list[str], child.args)[len(command)]
        return child, program if wrapper is None else shlex.join((*command, program))

    def _pipes(
        self, ours: ExitStack, theirs: ExitStack
    ) -> tuple[tuple[Connection, Connection], tuple[Connection, Connection]]:
        """The control and the stream Pipe, with our end of each before the host's.

        Args:
            ours, theirs: what closes our ends, and what closes the host's.
        """
        control = multiprocessing.Pipe(duplex=True)
        _close_with(ours, theirs, *control)
        # Used one way only, but a duplex Pipe moves large frames two to three times as fast.
        stream = multiprocessing.Pipe(duplex=True)
        _close_with(ours, theirs, *stream)
        _enlarge(control[0], stream[1])
        return control, stream


def _close_with(ours: ExitStack, theirs: ExitStack, our_end: Connection, end: Connection) -> None:
    ours.callback(our_end.close)
    theirs.callback(end.close)


def _folder_behind(
    wrapper: Wrapper | None, ours: ExitStack, theirs: ExitStack
) -> HandedFolder | None:
    """The folder that a process behind a wrapper gets; None if it gets none."""
    folder = handed_folder(wrapper) if wrapper is not None else None
    if folder is not None:
        ours.callback(folder.remove)
        theirs.callback(folder.close)
    return folder


def _reports(ours: ExitStack, theirs: ExitStack) -> tuple[list[int], list[int]]:
    """Pipes for what the host writes to its standard output, to its standard error and through
    `faulthandler`, and one that shows its end: their read ends, and the write ends."""
    reads, writes = [], []
    for _ in range(4):
        read_end, write_end = os.pipe()
        ours.callback(os.close, read_end)
        theirs.callback(os.close, write_end)
        reads.append(read_end)
        writes.append(write_end)
    return reads, writes


def _program(name: str, entry_args: tuple[Any, ...]) -> context.SpawnProcess:
    """What is unpickled in the host. It must not import the server's half there."""
    # The host is not a daemonic process, even if the server is one: an app may have children.
    program = context.SpawnProcess(target=enter, args=entry_args, name=name, daemon=False)
    program.authkey = os.urandom(32)
    # With None, `_bootstrap` leaves the start method as a fresh interpreter has it.
    program._start_method = None  # type: ignore[assignment]
    return program


def _enlarge(*ends: Connection) -> None:
    """Ask the system for larger Pipe buffers. It may grant less than was asked for."""
    for connection in ends:
        with socket_of(connection) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
