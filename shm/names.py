"""Names of blocks that say which process made the block. So what a dead process left can be told
from what a living process uses.

    mpk-<pid namespace>-<pid>-<start of the process>-<number>

All numbers are in base 36. A name has 30 characters at most: with the slash before it, it is within
the 31 that macOS allows. The system uses a pid again for another process; a pid together with the
time when its process started stays unique: the time since the boot of the machine, also for a
process in a time namespace. The name has the pid namespace in it because containers can share
`/dev/shm` and still have pids of their own.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import sys
from typing import NamedTuple

__all__ = ["ProcessTag", "next_name", "owner_of", "own_tag", "tag_of"]

_PREFIX = "mpk"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NUMBERS = 36**4
_START_TICKS_WRAP = 36**7

_NUMBER = "(0|[1-9a-z][0-9a-z]{0,6})"
_NAME = re.compile(f"{_PREFIX}-{_NUMBER}-{_NUMBER}-{_NUMBER}-")

_numbers = itertools.count()


class ProcessTag(NamedTuple):
    """Says which process is meant, on this machine, until the machine is restarted.

    Attributes:
        namespace: the inode of its pid namespace; 0 where there are none.
        pid: its process ID in that namespace.
        start: when it started, in clock ticks (Linux) or hundredths of a second; 0 if unknown.
    """

    namespace: int
    pid: int
    start: int

    @property
    def prefix(self) -> str:
        """What the names of all its blocks begin with."""
        return f"{_PREFIX}-{_base36(self.namespace)}-{_base36(self.pid)}-{_base36(self.start)}-"

    @property
    def may_live(self) -> bool:
        """False only when the process is known to be gone. A process of another pid namespace, or
        one whose start is unknown, may still live."""
        if self.namespace != _namespace():
            return True
        now = _start_of(self.pid)
        return now is not None and (now == self.start or 0 in (now, self.start))


def tag_of(pid: int) -> ProcessTag:
    """The tag of a process of this pid namespace."""
    return ProcessTag(_namespace(), pid, _start_of(pid) or 0)


def own_tag() -> ProcessTag:
    """The tag of the calling process."""
    global _own
    if _own is None or _own.pid != os.getpid():  # the first call, or the first after a fork
        _own = tag_of(os.getpid())
    return _own


def next_name() -> str:
    """A name for a new block of the calling process. After 1,679,616 names, the first comes
    again."""
    global _own_prefix
    tag = own_tag()
    if _own_prefix[0] is not tag:
        _own_prefix = (tag, tag.prefix)
    return _own_prefix[1] + _base36(next(_numbers) % _NUMBERS)


def owner_of(name: str) -> ProcessTag | None:
    """The process that made a block of this name; None for a name that is not one of ours."""
    match = _NAME.match(name)
    return ProcessTag(*(int(part, 36) for part in match.groups())) if match else None


_own: ProcessTag | None = None
_own_prefix: tuple[ProcessTag | None, str] = (None, "")


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux, or no /proc
        return 0


def _start_of(pid: int) -> int | None:
    """When a process started, 0 if that cannot be told, None when it is gone."""
    if sys.platform != "linux":
        return _start_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The program's name, before the last parenthesis, may hold any characters.
            fields = stat.read().rpartition(b")")[2].split()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if os.path.exists("/proc/self") else 0
    state, threads, start = fields[0], int(fields[17]), int(fields[19])
    if state in b"ZX" and threads <= 1:
        return None
    return (start - _boot_offset_ticks(os.getpid())) % _START_TICKS_WRAP


@functools.lru_cache(maxsize=1)
def _boot_offset_ticks(_own_pid: int) -> int:
    """What the time namespace of the calling process adds to the starts of all processes. Asked
    anew after a fork: the child may be in another one."""
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as file:
            offsets = {clock: (int(s), int(ns)) for clock, s, ns in map(str.split, file)}
    except OSError:  # a kernel without such namespaces
        return 0
    seconds, nanoseconds = offsets["boottime"]
    return (seconds * 10**9 + nanoseconds) * os.sysconf("SC_CLK_TCK") // 10**9


def _start_by_psutil(pid: int) -> int | None:
    import psutil  # imported only here: a host on Linux does not need it

    try:
        return int(psutil.Process(pid).create_time() * 100) % _START_TICKS_WRAP
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
