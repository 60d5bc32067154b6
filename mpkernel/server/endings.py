"""How processes end, and what can be known of it."""

from __future__ import annotations

import signal
from pathlib import Path

__all__ = ["ExitStatus", "oom_kills"]

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


def oom_kills() -> int | None:
    """How many processes of this cgroup the system killed for lack of memory, ever; None where the
    cgroup does not tell. Source: the kernel's "Control Group v2", `memory.events`."""
    try:
        for line in _OWN_CGROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                counts = _CGROUPS / path.lstrip("/") / "memory.events"
            elif "memory" in controllers.split(","):
                counts = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
            else:
                continue
            return next((int(value) for name, value in _pairs(counts) if name == "oom_kill"), None)
    except (OSError, ValueError):  # no cgroups, or none that may be read
        return None
    return None


def _pairs(file: Path) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in map(_parted, file.read_text().splitlines())]


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(" ")
