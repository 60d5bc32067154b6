"""Finding and killing everything that descends from a process. This needs Linux and its `/proc`. On
a system that does not tell the parent of a process, nothing is found here, and callers have to kill
the process group instead.

While we look for processes, these go on starting others. But a process that was sent SIGKILL starts
no more. So `kill_all` looks again and again, kills what is new, and ends when nothing is new. Some
start the next one and end sooner than they can be looked at. Most of these stay in one process
group, which the system kills as a whole.

What becomes of orphans depends: if a process above them is a subreaper (see `orphans`), they
stay its descendants. Otherwise they become children of the system's first process, and are not
found here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

__all__ = [
    "Identity",
    "Killed",
    "Stat",
    "children_of",
    "descendants_of",
    "exists",
    "kill",
    "kill_all",
    "kill_descendants",
    "stat_of",
]

_MOST_LOOKS = 100
_LOOKS_IN_VAIN = 4
_LOOKS_BEFORE_GROUPS = 3


class Identity(NamedTuple):
    """Names one process for as long as the machine is up. Its id alone does not: the system uses
    process ids again.

    Attributes:
        pid: its process id.
        start: when it started, in the system's own ticks.
    """

    pid: int
    start: int


class Stat(NamedTuple):
    """What the system tells of a process.

    Attributes:
        identity: which process it is.
        parent: its parent's process id.
        group: its process group.
        session: its process session.
        has_ended: whether it is a zombie: its parent has not asked for its exit status yet.
    """

    identity: Identity
    parent: int
    group: int
    session: int
    has_ended: bool


class Killed(NamedTuple):
    """The processes that a call has killed, and those that it has spared.

    Attributes:
        processes: those that were killed, or had ended by themselves and were not reaped yet.
        trackers: resource trackers, which were spared.
    """

    processes: set[Identity]
    trackers: set[Identity]


def stat_of(pid: int) -> Stat | None:
    """A process as it is now; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The program's name, before the last parenthesis, may hold any characters.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, threads = fields[0], int(fields[17])
    # The first thread of a process may end before the others.
    has_ended = state in b"ZX" and threads <= 1
    identity = Identity(pid, int(fields[19]))
    return Stat(identity, int(fields[1]), int(fields[2]), int(fields[3]), has_ended)


def exists(pid: int) -> bool:
    """Whether there is a process with this id. It may be a zombie, or one that has got the id of an
    earlier process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def children_of(pid: int, thread: int | None = None) -> list[int]:
    """The children of a process, zombies too, the oldest first of each of its threads.

    Args:
        pid: the process.
        thread: give only the children of this thread. Those that threads started which have ended,
            and adopted orphans, are children of the process's first thread. Default: of all
            threads.
    """
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task") if thread is None else [str(thread)]
    except OSError:
        return found
    for name in threads:
        try:
            with open(f"/proc/{pid}/task/{name}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:  # the thread has ended, or the system keeps no such file
            continue
    return found


def kill_descendants(pid: int) -> Killed:
    """SIGKILL all that descends from a process. The process itself must not start more meanwhile:
    it must be that of the calling thread, or stopped. When this returns, no descendant can start
    another process; they may take a moment to end."""
    return kill_all(lambda: descendants_of(pid))


def kill_all(find: Callable[[], Iterable[Identity]]) -> Killed:
    """SIGKILL what `find` gives, until several calls in a row give nothing new: a single call may
    come between the end of one process and the start of the next. Resource trackers are not killed:
    they remove what the other processes leave in shared memory, and end by themselves after
    these."""
    found = Killed(set(), set())
    looks_in_vain = 0
    for look in range(_MOST_LOOKS):
        new = set(find()) - found.processes - found.trackers
        looks_in_vain = 0 if new else looks_in_vain + 1
        if looks_in_vain == _LOOKS_IN_VAIN:
            break
        trackers = {one for one in new if _is_resource_tracker(one.pid)}
        found.trackers.update(trackers)
        found.processes.update(new - trackers)
        for one in new - trackers:
            kill(one)
            if look >= _LOOKS_BEFORE_GROUPS:
                _kill_group_of(one, found.trackers)
    return found


def _kill_group_of(process: Identity, spared: set[Identity]) -> None:
    """SIGKILL the process group that a process was in, if it is one that a process to be killed has
    made for itself and those that it starts: its first process led a session, and has ended. No
    other process can join such a group."""
    stat = stat_of(process.pid)
    if stat is None or stat.identity != process or stat.group != stat.session:
        return
    leader = stat_of(stat.session)
    if stat.session == os.getsid(0) or not (leader is None or leader.has_ended):
        return
    for one in spared:
        tracker = stat_of(one.pid)
        if tracker is not None and tracker.group == stat.group:
            return
    try:
        os.killpg(stat.group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # all are gone, or another user's by now
        return


def kill(process: Identity) -> None:
    """SIGKILL a process, and never another one that has got its process id meanwhile."""
    try:
        fd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # it is gone, or there are no such descriptors
        fd = -1
    try:
        now = stat_of(process.pid)
        if now is None or now.identity != process or now.has_ended:
            return
        if fd >= 0:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it is gone, or another user's by now
        return
    finally:
        if fd >= 0:
            os.close(fd)


def descendants_of(pid: int) -> list[Identity]:
    """All descendants of a process, parents before their children. Those that have ended and are
    not reaped yet are included: if one has come and gone since the last call, there may be more."""
    found: list[Identity] = []
    parents = [pid]
    while parents:
        for child in children_of(parents.pop()):
            stat = stat_of(child)
            if stat is None:
                continue
            found.append(stat.identity)
            if not stat.has_ended:
                parents.append(child)
    return found


def _is_resource_tracker(pid: int) -> bool:
    """Whether a process is multiprocessing's resource tracker, or a copy of it such as joblib's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"resource_tracker import main" in file.read()
    except OSError:
        return False
