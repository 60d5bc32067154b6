"""What a host that died by itself has left running: found, and ended. Linux only.

While a host lives, all that its app started descends from it (see `host.orphans`), and who ends the
host ends that first. When a host crashes, its descendants become the children of another process:
the system's first one, as a rule. They are known then by what they have from their host:

    its process session    unless they began one of their own
    its mark               a variable in the environment that each process hands on to its children
    its `HostMark`         a limit that nobody can lose but on purpose
    the watchdog's look    which saw them when they were still the host's descendants

So none escapes where the system lets a host set that limit. Elsewhere a process escapes that has
cleared its environment, begun a session of its own and lost its parent since the watchdog's last
look.

What is found may be the calling process's own child by now: a server that is the first process of
its container gets all orphans. It is reaped then, for nobody else will.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator

from mpkernel.host_mark import HostMark
from mpkernel.process_tree import (
    Identity,
    Killed,
    Stat,
    descendants_of,
    kill,
    kill_all,
    stat_of,
)
from shm.names import next_name, owner_of

__all__ = ["MARK", "end_strays", "end_strays_of_dead_servers", "new_mark", "see_out"]

MARK = "MPKERNEL_PROCESS_MARK"
"""The variable."""

logger = logging.getLogger(__name__)

_TRACKERS_WITHIN_S = 1.0
_KILLED_WITHIN_S = 1.0
_LOOK_S = 0.002


def new_mark() -> str:
    """A mark for a new host: it names this server, so that others can tell when that is dead."""
    return next_name()


def end_strays(host: int, mark: str, host_mark: HostMark, seen: Iterable[Identity]) -> None:
    """End what a host has left. Blocks for some milliseconds, for 2 s at the longest.

    Args:
        host: the host's process id; it has ended.
        mark: the host's, in the environment.
        host_mark: the host's, in a limit.
        seen: what the watchdog knows to be the host's.
    """
    marked = f"{MARK}={mark}".encode()
    known = set(seen)

    def is_stray(stat: Stat) -> bool:
        if stat.session == host or stat.identity in known:
            return True
        if HostMark.on(stat.identity.pid) == host_mark:
            return True
        return marked in _environment_of(stat.identity.pid)

    _end(is_stray)


def see_out(killed: Killed) -> None:
    """Wait until these have ended, for 2 s at the longest, and reap those that are children of this
    process. Resource trackers that do not end by themselves are killed."""
    _wait_for(killed.processes | killed.trackers, _TRACKERS_WITHIN_S)
    for one in killed.trackers:
        kill(one)
    _wait_for(killed.trackers, _KILLED_WITHIN_S)


def end_strays_of_dead_servers() -> None:
    """End what hosts have left that were killed together with their servers."""
    begins = f"{MARK}=".encode()

    def is_stray(stat: Stat) -> bool:
        host_mark = HostMark.on(stat.identity.pid)
        if host_mark is not None and host_mark.is_of_dead_host:
            return True
        for variable in _environment_of(stat.identity.pid):
            if variable.startswith(begins):
                server = owner_of(variable.removeprefix(begins).decode(errors="replace"))
                return server is not None and not server.may_live
        return False

    _end(is_stray)


def _end(is_stray: Callable[[Stat], bool]) -> None:
    try:
        killed = kill_all(lambda: _find(is_stray))
    except OSError as error:  # no descriptor is left to look
        logger.warning("processes that dead apps have started cannot be looked for: %s", error)
        return
    see_out(killed)


def _find(is_stray: Callable[[Stat], bool]) -> Iterator[Identity]:
    """The strays and what descends from them; those that have ended, if they are this process's
    children."""
    own_pid = os.getpid()
    for name in os.listdir("/proc"):
        stat = stat_of(int(name)) if name.isdecimal() else None
        if stat is None or stat.identity.pid == own_pid:
            continue
        if (not stat.has_ended or stat.parent == own_pid) and is_stray(stat):
            yield stat.identity
            yield from descendants_of(stat.identity.pid)


def _wait_for(processes: set[Identity], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    left = processes
    while left := {one for one in left if not _is_gone(one)}:
        if time.monotonic() > deadline_s:
            return
        time.sleep(_LOOK_S)


def _is_gone(process: Identity) -> bool:
    stat = stat_of(process.pid)
    if stat is None or stat.identity != process:
        return True
    if stat.has_ended and stat.parent == os.getpid():
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:  # somebody waits for any child of this process
            return True
    return stat.has_ended


def _environment_of(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:  # it has ended, or belongs to another user
        return []
