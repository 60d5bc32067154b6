"""What Landlock cannot forbid, forbidden by a filter of system calls (seccomp).

Landlock knows files, TCP, abstract sockets, signals and debugging. It does not know, and this
filter refuses with EPERM:

- Unix sockets that have a path: through that of D-Bus, systemd starts any program of the user;
- raw packets, virtual machines' sockets and other rare families; with `strict`, UDP, too;
- io_uring, which does much that a filter does not see; userfaultfd, bpf and perf_event_open, with
  which a hole in the kernel is used more easily;
- keyrings, and shared memory, semaphores and queues of the System V kind and of POSIX queues: all
  processes of a user share them;
- inotify and fanotify, which tell the names of files that a process may not read;
- files by their handles;
- the change of another process's limits, priority, processors or scheduling;
- what a process can do to its parent, which is the server: become a process that its parent debugs,
  whose end the parent does not see, or give it children.
"""

from __future__ import annotations

import ctypes
import errno
import os
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
_DO_NOT_KNOW = 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_SET_MODE_FILTER = 1
_KIND_OF_SOCKET = 0xF
_CLONE3 = 435  # the same on every architecture
_CLONE_PARENT = 0x8000
_PTRACE_TRACEME = 0
_IOPRIO_WHO_PROCESS = 1
_ITSELF = 0
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_NETLINK = 16  # socket.AF_NETLINK, which only Linux has


class _Numbers(msgspec.Struct, frozen=True):
    """The numbers of an architecture and of its system calls.

    Attributes:
        refused: io_uring_setup, _enter, _register; userfaultfd, bpf, perf_event_open; add_key,
            request_key, keyctl; shmget, shmat, semget, msgget, mq_open; inotify_init1,
            inotify_add_watch, fanotify_init, open_by_handle_at, and where there is one,
            inotify_init.
        of_itself: prlimit64, sched_setparam, _setscheduler, _setattr, _setaffinity: their first
            argument is a process, and 0 means the one that calls.
    """

    architecture: int
    seccomp: int
    socket: int
    clone: int
    ptrace: int
    setpriority: int
    ioprio_set: int
    refused: tuple[int, ...]
    of_itself: tuple[int, ...]


_BY_MACHINE = {
    "x86_64": _Numbers(
        architecture=0xC000003E,
        seccomp=317,
        socket=41,
        clone=56,
        ptrace=101,
        setpriority=141,
        ioprio_set=251,
        refused=(
            *(425, 426, 427, 323, 321, 298, 248, 249, 250, 29, 30, 64, 68, 240),
            *(294, 254, 300, 304, 253),
        ),
        of_itself=(302, 142, 144, 314, 203),
    ),
    "aarch64": _Numbers(
        architecture=0xC00000B7,
        seccomp=277,
        socket=198,
        clone=220,
        ptrace=117,
        setpriority=140,
        ioprio_set=30,
        refused=(
            *(425, 426, 427, 282, 280, 241, 217, 218, 219, 194, 196, 190, 186, 180),
            *(26, 27, 262, 265),
        ),
        of_itself=(261, 118, 119, 274, 122),
    ),
}


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
    # Its flags lie in memory, which a filter cannot read. The C library then calls `clone`.
    yield _one(_JUMP_IF_EQUAL, _CLONE3, 0, 1)
    yield _one(_RETURN, _DO_NOT_KNOW)
    keeps_parent = [_one(_LOAD, _ARGUMENTS), _one(_AND, _CLONE_PARENT), *_refused_unless(0)]
    yield from _if_called(numbers.clone, keeps_parent)
    is_traceme = [_one(_LOAD, _ARGUMENTS), *_refused_if(_PTRACE_TRACEME)]
    yield from _if_called(numbers.ptrace, is_traceme)
    for number in numbers.of_itself:
        yield from _if_called(number, [_one(_LOAD, _ARGUMENTS), *_refused_unless(_ITSELF)])
    for number, which in (
        (numbers.setpriority, os.PRIO_PROCESS),
        (numbers.ioprio_set, _IOPRIO_WHO_PROCESS),
    ):
        of_itself = [
            *(_one(_LOAD, _ARGUMENTS), *_refused_unless(which)),
            *(_one(_LOAD, _ARGUMENTS + 8), *_refused_unless(_ITSELF)),
        ]
        yield from _if_called(number, of_itself)
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


def _refused_if(value: int) -> Iterator[bytes]:
    """Go on if what is loaded is another value."""
    yield _one(_JUMP_IF_EQUAL, value, 0, 1)
    yield _one(_RETURN, _REFUSE)


def _if_called(number: int, instructions: list[bytes]) -> Iterator[bytes]:
    """Have this decide on a system call. It may end in a refusal; else the call is allowed."""
    yield _one(_JUMP_IF_EQUAL, number, 0, len(instructions) + 1)
    yield from instructions
    yield _one(_RETURN, _ALLOW)


def _one(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
