"""Attempts at the process of the server: its memory, its descriptors and its scheduling."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable

from .on_files import read
from .targets import Targets, unless


def of_proc(name: str) -> Callable[[Targets], object]:
    return lambda targets: read(f"/proc/{targets['server']}/{name}")


def descriptor_of_server(targets: Targets) -> None:
    folder = f"/proc/{targets['server']}/fd"
    for name in os.listdir(folder):
        os.readlink(f"{folder}/{name}")


def debug(targets: Targets) -> None:
    """In a fork, with whose end the debugging ends: meanwhile each signal would stop the server."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0x4206, targets["server"], None, None) != 0:  # PTRACE_SEIZE
        raise PermissionError(ctypes.get_errno(), "ptrace")


def read_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(8)
    ours = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    theirs = (ctypes.c_void_p * 2)(id(None), 8)
    if libc.process_vm_readv(targets["server"], ours, 1, theirs, 1, 0) < 0:
        if ctypes.get_errno() == 14:  # EFAULT: it may, and there is nothing
            return
        raise PermissionError(ctypes.get_errno(), "process_vm_readv")


def write_memory(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = (ctypes.c_void_p * 2)(id(None), 8)
    theirs = (ctypes.c_void_p * 2)(8, 8)  # where nothing can be: EFAULT says that it may
    if libc.process_vm_writev(targets["server"], ours, 1, theirs, 1, 0) < 0:
        unless(errno.EFAULT, "process_vm_writev")


def copy_descriptor(targets: Targets) -> None:
    pidfd = os.pidfd_open(targets["server"])
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(438, pidfd, 0, 0)
    os.close(pidfd)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "pidfd_getfd")
    os.close(fd)


def compare(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = 312 if os.uname().machine == "x86_64" else 272
    if libc.syscall(number, targets["server"], os.getpid(), 0, 1, 1) < 0:
        raise PermissionError(ctypes.get_errno(), "kcmp")


def count_events(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=IIQ", 1, 112, 1) + bytes(96)  # software events: the task's clock
    number = 298 if os.uname().machine == "x86_64" else 241
    fd = libc.syscall(number, attributes, targets["server"], -1, -1, 0)
    if fd < 0:
        raise PermissionError(ctypes.get_errno(), "perf_event_open")
    os.close(fd)


def be_debugged(_: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, None, None) != 0:  # PTRACE_TRACEME
        raise PermissionError(ctypes.get_errno(), "ptrace")


def start_beside(_: Targets) -> None:
    """With flags that exclude each other: the server would get a child otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0x8000 | 0x00020000 | 0x200  # CLONE_PARENT, CLONE_NEWNS, CLONE_FS
    libc.syscall(56 if os.uname().machine == "x86_64" else 220, flags, 0, 0, 0, 0)
    unless(errno.EINVAL, "clone")


def expose_to_killer(targets: Targets) -> None:
    with open(f"/proc/{targets['server']}/oom_score_adj", "r+"):
        return


def priority_of_server(targets: Targets) -> None:
    own = os.getpriority(os.PRIO_PROCESS, targets["server"])
    os.setpriority(os.PRIO_PROCESS, targets["server"], own)


def io_priority_of_server(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, targets["server"], 0) != 0:
        raise PermissionError(ctypes.get_errno(), "ioprio_set")


def processors_of_server(targets: Targets) -> None:
    os.sched_setaffinity(targets["server"], os.sched_getaffinity(targets["server"]))


def scheduling_of_server(targets: Targets) -> None:
    os.sched_setscheduler(targets["server"], os.SCHED_OTHER, os.sched_param(0))


def signal_by_pidfd(targets: Targets) -> None:
    pidfd = os.pidfd_open(targets["server"])
    try:
        signal.pidfd_send_signal(pidfd, 0)  # type: ignore[arg-type]
    finally:
        os.close(pidfd)


def limit_server(targets: Targets) -> None:
    resource.prlimit(targets["server"], resource.RLIMIT_CORE)


def advise(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(targets["server"])
    theirs = (ctypes.c_void_p * 2)(id(None) & ~4095, 4096)
    advised = libc.syscall(440, pidfd, theirs, 1, 20, 0)  # process_madvise, MADV_COLD
    os.close(pidfd)
    if advised < 0:
        raise PermissionError(ctypes.get_errno(), "process_madvise")


def share_core(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(62, 3, targets["server"], 0, 0) != 0:  # PR_SCHED_CORE_SHARE_FROM
        raise PermissionError(ctypes.get_errno(), "prctl(PR_SCHED_CORE)")
