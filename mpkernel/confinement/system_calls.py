"""What Landlock cannot forbid, forbidden by a filter of system calls (seccomp).

Landlock knows files, TCP, abstract sockets, signals and debugging. It does not know, and this
filter refuses with EPERM:

- Unix sockets that have a path: through that of D-Bus, systemd starts any program of the user;
- raw packets, virtual machines' sockets and other rare families; with `strict`, UDP, too;
- io_uring, which does much that a filter does not see, and userfaultfd, with which a hole in the
  kernel is used more easily;
- keyrings, and shared memory, semaphores and queues of the System V kind and of POSIX queues: all
  processes of a user share them;
- the change of another process's limits.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct
from collections.abc import Iterator

import msgspec

from mpkernel.confinement.landlock import system_call

__all__ = ["Filter", "filter_is_known", "install_filter"]

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_SET_MODE_FILTER = 1
_KIND_OF_SOCKET = 0xF
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_NETLINK = 16  # socket.AF_NETLINK, which only Linux has


class _Numbers(msgspec.Struct, frozen=True):
    """The numbers of an architecture and of its system calls."""

    architecture: int
    seccomp: int
    socket: int
    prlimit: int
    refused: tuple[int, ...]


_BY_MACHINE = {
    "x86_64": _Numbers(
        0xC000003E,
        317,
        41,
        302,
        (425, 426, 427, 323, 248, 249, 250, 29, 30, 64, 68, 240),
    ),
    "aarch64": _Numbers(
        0xC00000B7,
        277,
        198,
        261,
        (425, 426, 427, 282, 217, 218, 219, 194, 196, 190, 186, 180),
    ),
}
"""`refused`: io_uring_setup, _enter, _register; userfaultfd; add_key, request_key, keyctl; shmget,
shmat, semget, msgget, mq_open."""


class Filter(msgspec.Struct, frozen=True):
    """What is refused.

    Attributes:
        only_tcp: whether all sockets are refused that are not TCP's.
    """

    only_tcp: bool


def filter_is_known() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return platform.machine() in _BY_MACHINE


def install_filter(wanted: Filter) -> None:
    """Filter the calls of the calling thread, and of the threads and processes that it starts.
    `landlock.no_new_privileges` must have been called.

    Raises:
        OSError: the kernel refused.
    """
    numbers = _BY_MACHINE[platform.machine()]
    code = b"".join(_instructions(numbers, wanted))
    # The kernel takes the number of instructions, and where they are.
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    system_call(numbers.seccomp, _SET_MODE_FILTER, 0, program)


def _instructions(numbers: _Numbers, wanted: Filter) -> Iterator[bytes]:
    yield _one(_LOAD, _ARCHITECTURE)
    yield from _refused_unless(numbers.architecture)
    yield _one(_LOAD, _NUMBER)
    if numbers.architecture == _BY_MACHINE["x86_64"].architecture:
        yield _one(_JUMP_IF_AT_LEAST, _X32, 0, 1)
        yield _one(_RETURN, _REFUSE)
    for number in numbers.refused:
        yield _one(_JUMP_IF_EQUAL, number, 0, 1)
        yield _one(_RETURN, _REFUSE)
    yield from _if_called(numbers.prlimit, [_one(_LOAD, _ARGUMENTS), *_refused_unless(0)])
    yield from _if_called(numbers.socket, list(_of_socket(only_tcp=wanted.only_tcp)))
    yield _one(_RETURN, _ALLOW)


def _of_socket(*, only_tcp: bool) -> Iterator[bytes]:
    yield _one(_LOAD, _ARGUMENTS)
    families = _INTERNET if only_tcp else (*_INTERNET, _NETLINK)
    yield from _refused_unless(*families)
    if only_tcp:
        yield _one(_LOAD, _ARGUMENTS + 8)
        yield _one(_AND, _KIND_OF_SOCKET)
        yield from _refused_unless(socket.SOCK_STREAM)
        yield _one(_LOAD, _ARGUMENTS + 16)
        yield from _refused_unless(0, socket.IPPROTO_TCP)


def _refused_unless(*values: int) -> Iterator[bytes]:
    """Go on if what is loaded is one of these values."""
    for left, value in zip(reversed(range(len(values))), values, strict=True):
        yield _one(_JUMP_IF_EQUAL, value, left + 1, 0)
    yield _one(_RETURN, _REFUSE)


def _if_called(number: int, instructions: list[bytes]) -> Iterator[bytes]:
    """Have this decide on a system call. It may end in a refusal; else the call is allowed."""
    yield _one(_JUMP_IF_EQUAL, number, 0, len(instructions) + 1)
    yield from instructions
    yield _one(_RETURN, _ALLOW)


def _one(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
