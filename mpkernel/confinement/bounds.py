"""Limits on what a process may use that is confined with `strict`."""

from __future__ import annotations

import os
import resource

__all__ = ["LARGEST_FILE_BYTES", "MORE_TASKS", "set_bounds"]

LARGEST_FILE_BYTES = 4 * 1024**3
MORE_TASKS = 512
"""How many threads and processes an app may have; or its user, beyond those that there are at the
start."""


def set_bounds(*, alone: bool) -> None:
    """Bound the threads and processes (the kernel does not bound those of root), the size of each
    file that is written, and the address space of each process by the memory of the machine.

    Args:
        alone: whether this process has a user namespace of its own, where Linux counts the threads
            and processes of its user anew. If not, those of all that this user runs are counted.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if alone or os.geteuid() != 0:
        _lower(resource.RLIMIT_NPROC, MORE_TASKS + (0 if alone else _tasks_of_user()))
    _lower(resource.RLIMIT_FSIZE, LARGEST_FILE_BYTES)
    _lower(resource.RLIMIT_AS, memory)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _tasks_of_user() -> int:
    count = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:  # it has ended meanwhile
                continue
    return count
