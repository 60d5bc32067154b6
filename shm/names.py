"""Names that say whose a block is, so that what a dead process left can be told from what a living
one uses.

    mpk-<pid namespace>-<pid>-<start of the process>-<number>

all in base 36, 30 characters at most: with the slash before it such a name is within the 31 that
macOS allows. A pid alone is used again; with the time its process started it is not. The pid
namespace is there because containers can share `/dev/shm` and not their pids.
"""

from __future__ import annotations

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
    """Which process, on this machine, for as long as it is up.

    Attributes:
        namespace: the inode of its pid namespace; 0 where there are none.
        pid: its id in there.
        start: when it started, in clock ticks (Linux) or hundredths of a second; 0 if unknown.
    """

    namespace: int
    pid: int
    start: int

    @property
    def prefix(self) -> str:
        """How the names of all its blocks begin."""
        return f"{_PREFIX}-{_base36(self.namespace)}-{_base36(self.pid)}-{_base36(self.start)}-"

    @property
    def may_live(self) -> bool:
        """False only when the process is known to be gone: one of another pid namespace, or one
        whose start nobody could tell, may live."""
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
    """A name for a new block of the calling process. Names come again after 1,679,616."""
    global _own_prefix
    tag = own_tag()
    if _own_prefix[0] is not tag:
        _own_prefix = (tag, tag.prefix)
    return _own_prefix[1] + _base36(next(_numbers) % _NUMBERS)


def owner_of(name: str) -> ProcessTag | None:
    """Whose a block of this name is; None for a name that is not of ours."""
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
            # The name before the last parenthesis may hold anything.
            fields = stat.read().rpartition(b")")[2].split()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if os.path.exists("/proc/self") else 0
    state, threads, start = fields[0], int(fields[17]), int(fields[19])
    if state in b"ZX" and threads <= 1:
        return None
    return start % _START_TICKS_WRAP


def _start_by_psutil(pid: int) -> int | None:
    import psutil  # late: a host on Linux must not pay for it

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
