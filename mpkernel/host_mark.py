"""`HostMark`: tells for any process which app host it descends from, whatever the process has done
since then.

Every child inherits the resource limits of its parent, and `exec` keeps them. So a process still
has them when it has cleared its environment, left its process session, lost its parent and closed
every descriptor. One of these limits is free to carry a mark: the limit on file locks, which Linux
has not enforced since version 2.4.25, and for which Python has no name. A limit has two values;
only the soft one is set.

    bit 62 ─ pid namespace (20 bits) ─ process id of the host (22) ─ its start in clock ticks (20)

Where the limit cannot be set there is no mark: on other systems, in some sandboxes, and where the
hard limit was lowered.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import NamedTuple

from mpkernel.late_logger import late_logger
from shm.names import ProcessTag, own_tag, tag_of

__all__ = ["HostMark", "mark_own_process"]

logger = late_logger(__name__)

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
        """The mark of the host with this process id. It may be dead, but must not be reaped yet."""
        return cls.of(tag_of(pid))

    @classmethod
    def of(cls, tag: ProcessTag) -> HostMark:
        """The mark of the host that has this tag."""
        return cls(tag.namespace & _SHORT, tag.pid & _PID, tag.start & _SHORT)

    @classmethod
    def on(cls, pid: int) -> HostMark | None:
        """The mark that a process has. None if it descends from no host, if it has ended, or if
        this user may not look at it."""
        if sys.platform != "linux":
            return None
        try:
            value, _ = resource.prlimit(pid, _RLIMIT_LOCKS)
        except (AttributeError, OSError, ValueError):  # ValueError: the system has no such limit
            return None
        # Where there is no limit, it is -1, and from Python 3.15 on 2**64 - 1.
        if not _IS_MARK <= value < 2 * _IS_MARK:
            return None
        rest, start = value ^ _IS_MARK, value & _SHORT
        return cls(rest >> 20 + _PID_BITS, rest >> 20 & _PID, start)

    @property
    def number(self) -> int:
        """The mark as the number that the limit is set to."""
        return _IS_MARK | self.namespace << 20 + _PID_BITS | self.pid << 20 | self.start

    @property
    def is_of_dead_host(self) -> bool:
        """Whether the host is known to have ended. A host of another pid namespace may still
        live."""
        if self.namespace != own_tag().namespace & _SHORT:
            return False
        return HostMark.of_host(self.pid) != self


def mark_own_process() -> None:
    """Mark the calling process, which is a host, and all processes that it will start."""
    if sys.platform != "linux":
        return
    try:
        _, hard = resource.getrlimit(_RLIMIT_LOCKS)
        resource.setrlimit(_RLIMIT_LOCKS, (HostMark.of_host(os.getpid()).number, hard))
    except (OSError, OverflowError, ValueError) as error:
        logger.debug("this process cannot be marked: %s pid=%d", error, os.getpid())
