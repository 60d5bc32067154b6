"""How a process ended, as far as the operating system tells it."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

from mpkernel.system_files import lines_of

__all__ = ["ExitStatus", "OutOfMemory"]

logger = logging.getLogger(__name__)


class ExitStatus:
    """How a process ended, as far as it can be known.

    Attributes:
        code: the exit code; negative for the signal that killed it; None when somebody else reaped
            the process, or when it is lost.
        lost: for a process on another machine, what was lost with it (its worker, the connection).
            Nobody knows then whether it has ended. Default: it is not lost.
        out_of_memory: whether the system has killed processes for lack of memory on that other
            machine. None: it ran on this one.
    """

    def __init__(
        self, code: int | None, *, lost: str = "", out_of_memory: bool | None = None
    ) -> None:
        self.code = code
        self.lost = lost
        self.out_of_memory = out_of_memory

    @property
    def signal(self) -> int | None:
        """The number of the signal that killed it; None when none did."""
        return -self.code if self.code is not None and self.code < 0 else None

    def __str__(self) -> str:
        if self.lost:
            return f"is lost with {self.lost}"
        if self.code is None:
            return "ended in a way that could not be seen"
        if self.code >= 0:
            return f"left with exit code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class OutOfMemory:
    """Tells whether, since it was made, the system has killed processes of this control group for
    lack of memory. Source: "Control Group v2" of Linux's documentation, `memory.events`."""

    def __init__(self) -> None:
        self._file = _file_of_counts()
        self._before = _oom_kills(self._file)

    def happened(self) -> bool:
        """Whether the system has done so until now."""
        now = _oom_kills(self._file)
        return now is not None and self._before is not None and now > self._before

    def begin_anew(self) -> None:
        """Forget what has happened until now. This reads one small file."""
        self._before = _oom_kills(self._file)


def _file_of_counts() -> str | None:
    """The file that says how many processes of this control group the system has killed. Where the
    system counts them separately, those of the groups below it are not included."""
    for directory in _memory_groups():
        for name in ("memory.events.local", "memory.events", "memory.oom_control"):
            path = str(directory / name)
            if os.access(path, os.R_OK):
                return path
    logger.debug("no control group tells of memory")
    return None


def _oom_kills(file: str | None) -> int | None:
    if file is None:
        return None
    try:
        with open(file, encoding="ascii") as counts:
            return _count_in(counts.read())
    except OSError as error:
        logger.debug("no control group tells of memory any more: %s", error)
        return None


def _memory_groups(root: Path = Path("/")) -> list[Path]:
    """The directories of this process's memory group, for both versions of control groups. A
    container sees only a part of the tree; its mount tells which part."""
    try:
        groups = lines_of(root / "proc/self/cgroup")
        mounts = lines_of(root / "proc/self/mountinfo")
    except OSError as error:
        logger.debug("no control groups: %s", error)
        return []
    found = []
    for _, controllers, group in (line.split(":", 2) for line in groups):
        if controllers and "memory" not in controllers.split(","):
            continue
        for mount in mounts:
            fields, _, kind = mount.partition(" - ")
            top, place = fields.split(" ")[3:5]
            system, _, options = kind.split(" ")[:3]
            is_memory = system == "cgroup" and "memory" in options.split(",")
            if (is_memory if controllers else system == "cgroup2") and _is_below(group, top):
                found.append(root / place.lstrip("/") / os.path.relpath(group, top))
    return found


def _is_below(group: str, top: str) -> bool:
    return os.path.commonpath((group, top)) == top


def _count_in(counts: str) -> int | None:
    pairs = (line.partition(" ") for line in counts.splitlines())
    return next((int(value) for name, _, value in pairs if name == "oom_kill"), None)
