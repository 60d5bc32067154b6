"""Finds and ends *strays*: processes that an app had started, and that still run when its host has
died by itself. Linux only.

While a host lives, all that its app started descends from it (see `orphans`), and whoever ends
the host ends these processes first. When a host crashes, its descendants become the children of
another process, usually of the system's first one. They can then be recognized by:

    the process session of the host     unless they began one of their own
    a variable in the environment       which each process hands on to its children
    the host's `HostMark`               a resource limit, which is lost only on purpose
    the watchdog's last sample          which saw them as descendants of the host

Where the system lets a host set that limit, no process escapes. Elsewhere, a process escapes if it
has cleared its environment, has begun a process session of its own, and has lost its parent since
the watchdog's last sample.

A stray may be a child of the calling process: if a server is the first process of its container,
all orphans become its children. Such a stray is also reaped here, because no other code reaps it.
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
"""The name of the environment variable."""

logger = logging.getLogger(__name__)

_TRACKERS_WITHIN_S = 1.0
_KILLED_WITHIN_S = 1.0
_LOOK_S = 0.002


def new_mark() -> str:
    """The value of the variable for a new host. It names this server, so that other servers can
    tell when this one is dead."""
    return next_name()


def end_strays(host: int, mark: str, host_mark: HostMark, seen: Iterable[Identity]) -> None:
    """End what a host has left running. Blocks for some milliseconds, for 2 s at the longest.

    Args:
        host: the process id of the host, which has ended.
        mark: the value of the variable `MARK` in the host's environment.
        host_mark: the mark in the host's resource limit.
        seen: the host's processes as of the watchdog's last sample.
    """
    marked = f"{MARK}={mark}".encode()
    known = set(seen)

    def is_stray(stat: Stat) -> bool:
        if stat.session == host or stat.identity in known:
            return True
        found = HostMark.on(stat.identity.pid)
        if found is not None and found == host_mark:
            return True
        return marked in _environment_of(stat.identity.pid)

    _end(is_stray)


def see_out(killed: Killed) -> None:
    """Wait until killed processes have ended, for 2 s at the longest, and reap those that are
    children of this process. Resource trackers that do not end by themselves are killed."""
    _wait_for(killed.processes | killed.trackers, _TRACKERS_WITHIN_S)
    for one in killed.trackers:
        kill(one)
    _wait_for(killed.trackers, _KILLED_WITHIN_S)


def end_strays_of_dead_servers() -> None:
    """End what hosts have left running that were killed together with their servers."""
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
    """The strays and what descends from them. Strays that have ended are given only if they are
    children of this process, which must reap them."""
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
        except ChildProcessError:  # another part of this program has reaped it
            return True
    return stat.has_ended


def _environment_of(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []
