"""`Rebuilds`: the sessions of an app that are being rebuilt, and the processes that do it.

A session is being rebuilt from when it is put on a process until its kernel has done again what
brings back its values. That computes, so the other sessions of the process have to wait for the
interpreter's lock meanwhile. So a process with sessions that are used gets one to rebuild, and the
next when that is done, or when it takes longer than a moment: it may be waiting for something, and
those behind it are not to wait for that, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mpkernel.server.sessions.base import BaseSession

__all__ = ["Rebuilds"]

_MOMENT_S = 0.2


class Rebuilds:
    """One app's. On the loop's thread.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hosts: dict[BaseSession, object] = {}  # where each is being rebuilt
        self._counts: Counter[object] = Counter()  # how many are, by their process
        self._latest: dict[object, tuple[BaseSession, float]] = {}  # and until when it is recent

    def begun(self, session: BaseSession, host: object) -> None:
        """This one is being rebuilt on this process from now on."""
        self._hosts[session] = host
        self._counts[host] += 1
        self._latest[host] = (session, self._clock() + _MOMENT_S)

    def ended(self, session: BaseSession) -> None:
        """It has its values again, or is over, or has lost its process. Idempotent."""
        host = self._hosts.pop(session, None)
        if host is None:
            return
        self._counts[host] -= 1
        if not self._counts[host]:
            del self._counts[host]
        latest = self._latest.get(host)
        if latest is not None and latest[0] is session:
            del self._latest[host]

    def count(self, host: object) -> int:
        """How many sessions this process rebuilds."""
        return self._counts[host]

    def is_recent(self, host: object) -> bool:
        """Whether it is still busy with the one that it got last, and has been for a moment at
        most."""
        latest = self._latest.get(host)
        return latest is not None and latest[1] > self._clock()

    def left_s(self) -> float | None:
        """How long until the next process is no longer in that moment; None if none is."""
        now = self._clock()
        return min((until - now for _, until in self._latest.values() if until > now), default=None)
