"""What descends from a process, and the end of all of it. Linux, with `/proc`; where a system does
not tell whose child a process is, nothing is found here, and a process group has to do.

Processes go on starting others while they are looked for. But one that was sent SIGKILL starts no
more. So `kill_all` looks again and again, kills what is new, and is done when nothing is.

Two kinds of orphans there are: those of a process that is a subreaper (see `host.orphans`) stay
its descendants; those of any other one become the children of a process that has no part in this.
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
    "kill",
    "kill_all",
    "kill_descendants",
    "stat_of",
]

_MOST_LOOKS = 100
_LOOKS_IN_VAIN = 4


class Identity(NamedTuple):
    """A process, for as long as the machine is up: process ids are used again.

    Attributes:
        pid: its process id.
        start: when it started, in the system's own ticks.
    """

    pid: int
    start: int


class Stat(NamedTuple):
    """What the system tells of a process.

    Attributes:
        identity: which it is.
        parent: its parent's process id.
        session: its process session.
        has_ended: whether it is a zombie: its parent has not asked for its exit status yet.
    """

    identity: Identity
    parent: int
    session: int
    has_ended: bool


class Killed(NamedTuple):
    """What came of a search for processes to kill.

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
            # The name before the last parenthesis may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, threads = fields[0], int(fields[17])
    # The first thread of a process may end before the others.
    has_ended = state in b"ZX" and threads <= 1
    return Stat(Identity(pid, int(fields[19])), int(fields[1]), int(fields[3]), has_ended)


def children_of(pid: int, thread: int | None = None) -> list[int]:
    """The children of a process, zombies too, the oldest first of each of its threads.

    Args:
        pid: the process.
        thread: only those of this thread: what it started, and for the process's first thread also
            what threads that have ended had started, and adopted orphans.
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
    """SIGKILL all that descends from a process, which must not start more meanwhile: it is the
    calling thread's own, or stopped. Returns once no descendant can start another one; they may
    take a moment to end."""
    return kill_all(lambda: descendants_of(pid))


def kill_all(find: Callable[[], Iterable[Identity]]) -> Killed:
    """SIGKILL what is found, until nothing new is, several looks in a row: one look may fall
    between the end of a process and the beginning of the next. Resource trackers are spared: they
    remove what the others leave in shared memory, and end by themselves when these have."""
    found = Killed(set(), set())
    looks_in_vain = 0
    for _ in range(_MOST_LOOKS):
        new = set(find()) - found.processes - found.trackers
        looks_in_vain = 0 if new else looks_in_vain + 1
        if looks_in_vain == _LOOKS_IN_VAIN:
            break
        trackers = {one for one in new if _is_resource_tracker(one.pid)}
        found.trackers.update(trackers)
        found.processes.update(new - trackers)
        for one in new - trackers:
            kill(one)
    return found


def kill(process: Identity) -> None:
    """SIGKILL a process, and no other one that has its number by now."""
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
    """All, parents before their children; also those that have ended and that nobody has reaped:
    that one has come and gone since the last look says that there may be more."""
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
    """multiprocessing's, or one made after it, as joblib's is."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"resource_tracker import main" in file.read()
    except OSError:
        return False
