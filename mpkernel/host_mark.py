"""`HostMark`: tells of any process from which app host it descends, whatever it has done since.

Every child inherits the limits of its parent, and `exec` keeps them. So a process that has cleared
its environment, left its session, lost its parent and closed every descriptor still has them. One
of them is free to carry a mark: the limit on file locks, which Linux has not enforced since 2.4.25
and for which Python has no name. Of its two values only the soft one is set.

    bit 62 ─ pid namespace (20 bits) ─ process id of the host (22) ─ its start in clock ticks (20)

Where the limit cannot be set there is no mark: on other systems, in some sandboxes, and where the
hard limit was lowered.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from typing import NamedTuple

from shm.names import own_tag, tag_of

__all__ = ["HostMark", "mark_own_process"]

logger = logging.getLogger(__name__)

_RLIMIT_LOCKS = 10
_IS_MARK = 1 << 62
_SHORT = (1 << 20) - 1
_PID_BITS = 22
_PID = (1 << _PID_BITS) - 1


class HostMark(NamedTuple):
    """The mark of one host.

    Attributes:
        namespace: the last 20 bits of its pid namespace's inode.
        pid: its process id in there.
        start: the last 20 bits of when it started.
    """

    namespace: int
    pid: int
    start: int

    @classmethod
    def of_host(cls, pid: int) -> HostMark:
        """The mark of the host with this process id, dead or alive, that nobody has reaped yet."""
        tag = tag_of(pid)
        return cls(tag.namespace & _SHORT, tag.pid & _PID, tag.start & _SHORT)

    @classmethod
    def on(cls, pid: int) -> HostMark | None:
        """The mark that a process has; None for one that descends from no host, that has ended, or
        that may not be looked at."""
        if sys.platform != "linux":
            return None
        try:
            value, _ = resource.prlimit(pid, _RLIMIT_LOCKS)
        except (AttributeError, OSError, ValueError):  # ValueError: the system has no such limit
            return None
        if value <= 0 or not value & _IS_MARK:
            return None
        rest, start = value ^ _IS_MARK, value & _SHORT
        return cls(rest >> 20 + _PID_BITS, rest >> 20 & _PID, start)

    @property
    def number(self) -> int:
        """The mark as a limit."""
        return _IS_MARK | self.namespace << 20 + _PID_BITS | self.pid << 20 | self.start

    @property
    def is_of_dead_host(self) -> bool:
        """Whether the host is known to be gone. One of another pid namespace may live."""
        if self.namespace != own_tag().namespace & _SHORT:
            return False
        return HostMark.of_host(self.pid) != self


def mark_own_process() -> None:
    """Mark the calling process, a host, and all that it will start."""
    if sys.platform != "linux":
        return
    try:
        _, hard = resource.getrlimit(_RLIMIT_LOCKS)
        resource.setrlimit(_RLIMIT_LOCKS, (HostMark.of_host(os.getpid()).number, hard))
    except (OSError, OverflowError, ValueError) as error:
        logger.debug("this process cannot be marked: %s pid=%d", error, os.getpid())
