"""How much a process may use that is confined with `strict`."""

from __future__ import annotations

import os
import resource

__all__ = ["LARGEST_FILE_BYTES", "MORE_TASKS", "set_bounds"]

LARGEST_FILE_BYTES = 4 * 1024**3
MORE_TASKS = 512
"""How many threads and processes the user may have beyond those that there are at the start."""


def set_bounds() -> None:
    """Bound the threads and processes of this user, as this process sees them (the kernel does not
    bound those of root), the size of each file that is written, and the address space of each
    process by the memory of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _lower(resource.RLIMIT_NPROC, _tasks_of_user() + MORE_TASKS)
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
