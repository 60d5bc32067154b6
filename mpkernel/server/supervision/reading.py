"""`read_process`: what the system tells of one process.

On Linux, one small file of `/proc` has all of it. psutil reads six files for the same, which with
40 apps would be most of the work of an idle server. On other systems psutil is used.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import psutil

from shm.names import tag_of

__all__ = ["Reading", "descriptors_of", "read_process"]

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Reading(NamedTuple):
    """A process at one moment.

    Attributes:
        start: when it was created, as `usage.created_at` gives it.
        has_ended: whether it only waits to be reaped.
        rss_bytes: its resident memory.
        cpu_s: its CPU time.
        children_cpu_s: the CPU time of its children that have ended and were reaped.
        threads: how many it has.
    """

    start: int
    has_ended: bool
    rss_bytes: int
    cpu_s: float
    children_cpu_s: float
    threads: int


def read_process(pid: int) -> Reading:
    """A process as it is now.

    Raises:
        psutil.NoSuchProcess: there is none.
        psutil.AccessDenied: this user may not look at it.
        OSError: this process cannot look: no descriptor is left, for example.
    """
    if sys.platform != "linux":
        return _read_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The program's name, before the last parenthesis, may hold any characters.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    except PermissionError:
        raise psutil.AccessDenied(pid) from None
    user, system, children_user, children_system = map(int, fields[11:15])
    threads = int(fields[17])
    return Reading(
        start=int(fields[19]),
        # The first thread of a process may end before the others.
        has_ended=fields[0] in b"ZX" and threads <= 1,
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_s=(user + system) / _TICKS_A_SECOND,
        children_cpu_s=(children_user + children_system) / _TICKS_A_SECOND,
        threads=threads,
    )


def _read_by_psutil(pid: int) -> Reading:
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Reading(
            start=tag_of(pid).start,
            has_ended=process.status() == psutil.STATUS_ZOMBIE,
            rss_bytes=process.memory_info().rss,
            cpu_s=times.user + times.system,
            children_cpu_s=times.children_user + times.children_system,
            threads=process.num_threads(),
        )


def descriptors_of(pid: int) -> int | None:
    """How many descriptors a process has open; None if this user may not know: the process runs as
    another user by now, or may not be traced.

    Raises:
        psutil.NoSuchProcess: there is no such process.
        OSError: as `read_process`.
    """
    if sys.platform != "linux":
        try:
            return int(psutil.Process(pid).num_fds())
        except psutil.AccessDenied:
            return None
    directory = f"/proc/{pid}/fd"
    try:
        # From Linux 6.2 on, the number is the size of the directory; before, the size is 0.
        return os.stat(directory).st_size or len(os.listdir(directory))
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    except PermissionError:
        return None
