"""How processes end, and what can be known of it."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

__all__ = ["ExitStatus", "OutOfMemory"]

logger = logging.getLogger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


class ExitStatus:
    """How a process ended, as far as it can be known.

    Attributes:
        code: the exit code; negative for the signal that killed it; None when somebody else reaped
            the process.
    """

    def __init__(self, code: int | None) -> None:
        self.code = code

    @property
    def signal(self) -> int | None:
        """The number of the signal that killed it; None when none did."""
        return -self.code if self.code is not None and self.code < 0 else None

    def __str__(self) -> str:
        if self.code is None:
            return "ended in a way that could not be seen"
        if self.code >= 0:
            return f"left with exit code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class OutOfMemory:
    """Whether the system killed processes of this cgroup for lack of memory since this was made, as
    far as the cgroup tells. Source: the kernel's "Control Group v2", `memory.events`."""

    def __init__(self) -> None:
        self._before = _oom_kills()

    def happened(self) -> bool:
        """Whether it did, until now."""
        now = _oom_kills()
        return now is not None and self._before is not None and now > self._before


def _oom_kills() -> int | None:
    try:
        for line in _OWN_CGROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                counts = _CGROUPS / path.lstrip("/") / "memory.events"
            elif "memory" in controllers.split(","):
                counts = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
            else:
                continue
            return _count_in(counts.read_text())
    except (OSError, ValueError) as error:
        logger.debug("no cgroup that tells of memory: %s", error)
    return None


def _count_in(counts: str) -> int | None:
    pairs = (line.partition(" ") for line in counts.splitlines())
    return next((int(value) for name, _, value in pairs if name == "oom_kill"), None)
