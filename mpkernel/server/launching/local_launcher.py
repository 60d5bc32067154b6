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
from mpkernel.server.launching.interpreter import start_error
from mpkernel.server.launching.launch import launch
from mpkernel.server.launching.local_process import LocalProcess, close_all
from mpkernel.server.launching.other_python import EnvironmentOfApp
from mpkernel.server.links.sockets import socket_of
from mpkernel.server.supervision.strays import MARK, new_mark

__all__ = ["LocalLauncher"]

_HOST_ENTRY = "mpkernel.host.main:main"
_SOCKET_BYTES = 512 * 1024


class LocalLauncher:
    """The `Launcher` of this machine."""

    def launch(
        self,
        name: str,
        *,
        env: Mapping[str, str] | None = None,
        environment: EnvironmentOfApp | None = None,
    ) -> LocalProcess:
        """See `Launcher.launch`. Takes about a millisecond.

        Raises:
            HostStartError: the operating system refused (out of processes, memory, descriptors), or
                there is no Python to launch.
        """
        ours: list[Connection | int] = []
        theirs: list[Connection | int] = []
        python = None
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
            if environment is not None:
                python = environment.python(host_stream.fileno())
            child = launch(
                name,
                _program(
                    name,
                    (
                        _HOST_ENTRY,
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
                python=python,
            )
        except OSError as error:
            close_all(ours)
            raise start_error(name, error) from error
        except BaseException:
            close_all(ours)
            raise
        finally:
            close_all(theirs)
            if python is not None:
                python.close()
        launched = python.path if python is not None else cast(list[str], child.args)[0]
        return LocalProcess(child, launched, control, stream, console, mark)


def _program(name: str, entry_args: tuple[Any, ...]) -> context.SpawnProcess:
    """What is unpickled in the host. It must not import the server's half there."""
    # The host is no daemonic process, even if the server is one: an app may have children.
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
