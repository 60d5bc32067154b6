"""Descriptors that lead nowhere in a fork of this process: `withhold_from_forks`.

A fork has copies of all descriptors of its parent. If it leaves with an exception inside of
`asyncio.run`, the event loop goes on in it until all tasks have ended. The epoll of that loop is
the parent's, too. So the fork's loop calls back for what has arrived for the parent, and reads it:
the parent never gets it. And when the fork's loop stops watching a descriptor, the parent's loop
stops, too.

So at the beginning of each fork (by `os.fork`; a spawned process has none of the descriptors),
those that are named here are replaced by one end of a socket pair. Nobody reads what is written
there, or writes anything to it, and no loop watches it.

A fork also keeps the locks that its parent holds on files (`flock`), as long as it has their
descriptors open, even when its parent has ended. So a lock that is held for long is named here,
too, and one that is held for a moment is freed with `unlocked`.
"""

from __future__ import annotations

import fcntl
import os
import socket

__all__ = ["release", "unlocked", "withhold_from_forks"]

_withheld: dict[int, tuple[int, int]] = {}  # which file each descriptor is: device and inode
_pairs: list[tuple[socket.socket, socket.socket]] = []  # in a fork: open until it ends


def withhold_from_forks(*descriptors: int) -> None:
    """Have these descriptors lead nowhere in forks of this process from now on. `release` them
    before they are closed. If one is closed without that, a fork gets what has its number by then.
    From any thread.

    Raises:
        OSError: one is not open.
    """
    _withheld.update((descriptor, _file(descriptor)) for descriptor in descriptors)


def release(*descriptors: int) -> None:
    """Have forks get these descriptors again. Idempotent; from any thread."""
    for descriptor in descriptors:
        _withheld.pop(descriptor, None)


def unlocked(descriptor: int) -> None:
    """Free a lock that was taken with `flock`, and close its descriptor. To close it is not enough:
    a fork that another thread has made meanwhile would keep the lock as long as it lives."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _file(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _is_open(descriptor: int, file: tuple[int, int]) -> bool:
    try:
        return _file(descriptor) == file
    except OSError:
        return False


def _replace_in_fork() -> None:
    withheld = [descriptor for descriptor, file in _withheld.items() if _is_open(descriptor, file)]
    _withheld.clear()
    if not withheld:
        return
    try:
        pair = socket.socketpair()
    except OSError:  # no more may be open: two of them make room
        for descriptor in withheld[:2]:
            os.close(descriptor)
        pair = socket.socketpair()
    _pairs.append(pair)
    for end in pair:
        end.setblocking(False)
    for descriptor in set(withheld).difference(end.fileno() for end in pair):
        os.dup2(pair[0].fileno(), descriptor, inheritable=False)


os.register_at_fork(after_in_child=_replace_in_fork)
