"""`LocalLauncher`: starts app hosts on this machine, and makes their Pipes.

`launch` does the spawn itself. `local_process` is the process from then on.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
from collections.abc import Mapping
from multiprocessing import context
from multiprocessing.connection import Connection
from typing import Any, cast

from mpkernel.program import enter
from mpkernel.server.launching.descriptor_limit import limit_of_apps
from mpkernel.server.launching.handshake import name_in
from mpkernel.server.launching.interpreter import other_start_error, start_error
from mpkernel.server.launching.launch import launch, launch_other
from mpkernel.server.launching.local_process import LocalProcess, close_all
from mpkernel.server.launching.other_python import Call, PythonOfApp
from mpkernel.server.links.sockets import socket_of
from mpkernel.server.supervision.strays import MARK, new_mark

__all__ = ["LocalLauncher"]

_HOST_ENTRY = "mpkernel.host.start:start"
_SOCKET_BYTES = 512 * 1024


class LocalLauncher:
    """The `Launcher` of this machine."""

    def launch(
        self,
        name: str,
        *,
        env: Mapping[str, str] | None = None,
        python: PythonOfApp | None = None,
    ) -> LocalProcess:
        """See `Launcher.launch`. Takes about a millisecond.

        Raises:
            HostStartError: the operating system refused (out of processes, memory, descriptors), or
                there is no Python to launch.
        """
        ours: list[Connection | int] = []
        theirs: list[Connection | int] = []
        other = None
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
            descriptors = (host_control.fileno(), host_stream.fileno(), faults, sentinel)
            arguments = (*descriptors, os.getpid(), limit_of_apps())
            stdio = (subprocess.DEVNULL, stdout, stderr)
            env = {**(os.environ if env is None else env), MARK: mark}
            if python is None:
                child = launch(
                    name,
                    _program(name, (_HOST_ENTRY, *arguments)),
                    descriptors=descriptors,
                    stdio=stdio,
                    env=env,
                    preparation={"name": name, "authkey": os.urandom(32)},
                )
            else:
                other = python.python(host_stream.fileno())
                child = launch_other(
                    other,
                    Call(
                        _HOST_ENTRY,
                        arguments,
                        host_stream.fileno(),
                        tuple(map(name_in, python.requirements)),
                    ),
                    descriptors=descriptors,
                    stdio=stdio,
                    env=env,
                )
        except OSError as error:
            close_all(ours)
            if other is not None:
                raise other_start_error(name, error, other.path) from error
            raise start_error(name, error) from error
        except BaseException:
            close_all(ours)
            raise
        finally:
            close_all(theirs)
        launched = other.path if other is not None else cast(list[str], child.args)[0]
        requirements = python.requirements if python is not None else None
        return LocalProcess(child, launched, requirements, control, stream, console, mark)


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
