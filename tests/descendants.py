"""The processes that stem from this one, from the lists of children that Linux keeps.

`psutil` reads of every process of the machine who its parent is. That takes milliseconds, twice for
each of thousands of tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

__all__ = ["command_of", "descendants", "has_ended", "still_alive"]

_PAUSE_S = 0.005


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


def command_of(process: psutil.Process) -> str:
    """The words of its command line, with spaces between; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, even if its parent has not asked for its exit status yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def still_alive(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait until these have ended, and return those that have not.

    `psutil.wait_procs` would take the exit status of a child. If `multiprocessing` has started that
    child, it waits for the status itself, and without it believes for ever that the child lives.
    """
    deadline = time.monotonic() + patience_s
    while alive := [one for one in processes if not has_ended(one)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_S)
    return alive


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
