"""Orphans: processes whose parent has ended, and which get another one. Linux only.

A program that puts itself into the background leaves its process session, and its parent ends. The
system then makes it a child of the machine's first process, and nobody can tell any more where it
came from. A host is a *subreaper*: orphans among its descendants become its own children. So
whoever ends a host finds all that user code has started.

In a container the first process gets all orphans that have no subreaper above them. Often this is
`mpkernel run`. Commands that are run beside it (`docker exec`) leave such orphans.

A parent must also ask for the exit status of its children, or each leaves a zombie. But user code
asks for the status of what it has started itself, and must get it. Two facts tell the two kinds
apart:
- orphans become children of a process's first thread, which in a host starts no process itself. So
  do the children of threads that have ended;
- a process that a process has started is in the same process session, or leads one of its own.
A zombie that is surely an orphan is reaped at once. Of the doubtful ones the latest are kept: a
zombie costs a process id, but user code may need a status.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from mpkernel.process_tree import Stat, children_of, stat_of

__all__ = ["adopt_orphans", "reap_orphans", "reap_orphans_if_first"]

_PR_SET_CHILD_SUBREAPER = 36
_KEPT_ZOMBIES = 100
_PAUSE_S = 2.0


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


def reap_orphans_if_first() -> None:
    """If this is the first process of a container, reap orphans until it ends, on a thread."""
    if os.getpid() != 1:
        return

    def go_on() -> None:
        while True:
            time.sleep(_PAUSE_S)
            reap_orphans()

    threading.Thread(target=go_on, name="mpkernel-orphans", daemon=True).start()


def _has_zombie() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # there are no children
        return False


def _may_be_a_child(zombie: Stat) -> bool:
    """Whether this process may have started it itself, so that it is not an orphan."""
    return zombie.session in (zombie.identity.pid, os.getsid(0))


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # user code has waited for any child
        return
