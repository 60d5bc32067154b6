"""Linux's Landlock, through its three system calls: a process gives up rights for ever, for itself
and for all that it starts.

    version    what the kernel knows: its "ABI", a number that grows
    Ruleset    the rights that are given up, but for what `allow_path` and `allow_port` except
    restrict   gives them up, for the calling thread and the threads and processes that it starts

Threads that run already keep their rights: `restrict` must be called before there are any.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import stat
import struct
import sys
from types import TracebackType
from typing import Self

__all__ = ["Access", "Ruleset", "libc", "no_new_privileges", "system_call", "version"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_GIVE_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT_TCP, _BIND_TCP = 2, 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_OF_NETWORK, _OF_SCOPES = 4, 6
"""The versions from which on Landlock knows TCP ports, and scopes."""


class Access:
    """What can be done with files, by Landlock's numbers. Not an enumeration: to make one takes a
    millisecond of each confined process's start, as do structures of ctypes."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = EXECUTE | READ_FILE | READ_DIR
    CHANGE = (
        WRITE_FILE
        | REMOVE_DIR
        | REMOVE_FILE
        | MAKE_DIR
        | MAKE_REG
        | MAKE_SOCK
        | MAKE_FIFO
        | MAKE_SYM
        | REFER
        | TRUNCATE
    )
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


_FIRST = (1 << 13) - 1
_SINCE = {2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}
"""The rights that Landlock knew at first, and those that came later, by version."""


def version() -> int:
    """Landlock's version in this kernel, which may be newer than what is known here; 0 where there
    is none: another system, an old kernel, or one that was started without Landlock."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return 0
    try:
        return system_call(_CREATE_RULESET, None, 0, _GIVE_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


class Ruleset:
    """The rights that `restrict` gives up. Close it after use, or use it in a `with`.

    Args:
        known: Landlock's version; see `version`. What it does not know is not given up.
        tcp: whether connections by TCP are given up, and servers of TCP.

    Raises:
        OSError: the kernel refused.
    """

    def __init__(self, known: int, *, tcp: bool) -> None:
        self._handled = _FIRST
        for since, access in _SINCE.items():
            if known >= since:
                self._handled |= access
        attributes = struct.pack(
            "=QQQ",
            self._handled,
            _CONNECT_TCP | _BIND_TCP if tcp and known >= _OF_NETWORK else 0,
            _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if known >= _OF_SCOPES else 0,
        )
        # An older kernel takes the fields that it knows, as long as the others are 0.
        self._fd = system_call(_CREATE_RULESET, attributes, len(attributes), 0)

    def allow_path(self, path: str, access: int) -> None:
        """Keep these rights for a file, or for a folder and all that is beneath it. A path that
        leads nowhere is left out: nothing could be done there.

        Raises:
            OSError: the kernel refused.
        """
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                access &= Access.OF_FILES
            rule = struct.pack("=Qi", access & self._handled, fd)
            system_call(_ADD_RULE, self._fd, _PATH_BENEATH, rule, 0)
        finally:
            os.close(fd)

    def allow_port(self, port: int) -> None:
        """Keep the right to connect to this TCP port, of any machine.

        Raises:
            OSError: the kernel refused.
        """
        rule = struct.pack("=QQ", _CONNECT_TCP, port)
        system_call(_ADD_RULE, self._fd, _NET_PORT, rule, 0)

    def restrict(self) -> None:
        """Give the rights up, for ever. `no_new_privileges` must have been called before.

        Raises:
            OSError: the kernel refused.
        """
        system_call(_RESTRICT_SELF, self._fd, 0)

    def close(self) -> None:
        """Close the descriptor. What was given up stays so."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def no_new_privileges() -> None:
    """Have no program that is executed from now on give its process more rights, such as those of
    its owner (setuid).

    Raises:
        OSError: the kernel refused.
    """
    if libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _last_error("prctl(PR_SET_NO_NEW_PRIVS)")


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library, as the process has it."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """Call the kernel.

    Args:
        number: of the call.
        arguments: numbers, bytes whose address is given, None for a null pointer.

    Raises:
        OSError: the kernel refused.
    """
    converted = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = libc().syscall(ctypes.c_long(number), *converted)
    if result < 0:
        raise _last_error(f"system call {number}")
    return result


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
