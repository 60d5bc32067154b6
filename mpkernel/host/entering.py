"""`enter`: the first function that is called in a process with another Python than its server's, or
in one that a wrapper has started.

The program that another Python was given has looked already whether this Python is new enough, and
has msgspec: see the server's `launching.other_python`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from typing import NoReturn

from mpkernel.program import resolve
from mpkernel.version import __version__
from mpkernel.wire.before_host import PROTOCOL, Hello
from mpkernel.wire.frames import Channel, encode_header
from mpkernel.wire.messages import encode
from shm.names import own_tag

__all__ = ["enter"]


def enter(
    entry: str, args: Sequence[object], stream_fd: int | None, packages: Sequence[str]
) -> NoReturn:
    """Say which Python and packages this process has, and run what was ordered.

    Args:
        entry: "package.module:function"; what it returns is the exit code.
        args: its arguments.
        stream_fd: the descriptor on which to say it; None: say nothing.
        packages: the packages whose versions the server wants to know.
    """
    if stream_fd is not None:
        _say(stream_fd, packages)
    sys.exit(resolve(entry)(*args))


def _say(stream_fd: int, packages: Sequence[str]) -> None:
    payload = encode(
        Hello(
            protocol=PROTOCOL,
            pid=os.getpid(),
            namespace=own_tag().namespace,
            sees_itself=_sees_itself(),
            mpkernel=__version__,
            python=platform.python_version(),
            msgspec=_version_of("msgspec") or "",
            packages={name: _version_of(name) for name in packages},
        )
    )
    with open(stream_fd, "wb", closefd=False) as pipe:
        pipe.write(encode_header(Channel.MANAGEMENT, 0, len(payload)) + payload)


def _sees_itself() -> bool:
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
