"""Orphans: what user code started, and whose parent has ended. They stay with the host. Linux only.

A program that puts itself into the background leaves its process session, and its parent ends. The
system then gives it to the first process, and nobody knows any more where it came from. A host is a
*subreaper*: it is the one that such orphans are given to. So whoever ends a host finds all that it
started.

Who adopts must also ask for the exit status, or a zombie stays. But user code asks for the status
of what it has started itself, and must get it. Two facts tell the two kinds apart:
- the system gives orphans to the first thread of a process, which starts nothing here. The same
  thread gets the children of threads that have ended;
- a child of the host is of the host's process session or leads one of its own.
A zombie that is surely an orphan is reaped at once. Of the doubtful ones the latest are kept: a
zombie costs a process id, a status that is lost may cost a result.
"""

from __future__ import annotations

import os
import sys

from mpkernel.process_tree import Stat, children_of, stat_of

__all__ = ["adopt_orphans", "reap_orphans"]

_PR_SET_CHILD_SUBREAPER = 36
_KEPT_ZOMBIES = 100


def adopt_orphans() -> None:
    """Have orphans of this process's descendants become its children from now on."""
    if sys.platform == "linux" and os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans() -> None:
    """Reap orphans that have ended, as far as they are known to be orphans."""
    if not _has_zombie():
        return
    pid = os.getpid()
    children = [stat_of(child) for child in children_of(pid, thread=pid)]
    zombies = [child for child in children if child is not None and child.has_ended]
    doubtful = [zombie for zombie in zombies if _may_be_a_child(zombie)]
    kept = set(doubtful[-_KEPT_ZOMBIES:])
    for zombie in zombies:
        if zombie not in kept:
            _reap(zombie.identity.pid)


def _has_zombie() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # there are no children
        return False


def _may_be_a_child(zombie: Stat) -> bool:
    """Whether it may be one that this process has started, not an orphan."""
    return zombie.session in (zombie.identity.pid, os.getsid(0))


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # user code has waited for any child
        return
