"""The processes that stem from this one, from the lists of children that Linux keeps.

`psutil` reads of every process of the machine who its parent is. That takes milliseconds, twice for
each of thousands of tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

__all__ = ["descendants"]


def descendants() -> list[psutil.Process]:
    """Children of this process, their children, and so on; some may have ended meanwhile."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return psutil.Process().children(recursive=True)
    # The lists may lack a process while another one ends: two that agree lack none.
    before, now = None, _pids_below(os.getpid())
    while now != before:
        before, now = now, _pids_below(os.getpid())
    found = []
    for pid in sorted(now):
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found


def _pids_below(pid: int) -> set[int]:
    found: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            found.update(map(int, children))
    except (FileNotFoundError, ProcessLookupError):  # a thread or the process has ended
        pass
    for child in tuple(found):
        found |= _pids_below(child)
    return found
