"""`Rebuilds`: the sessions of an app that are being rebuilt, and the processes that do it.

A session's rebuild begins when it is put on a process. It ends when its kernel has run the commands
that bring its values back. These commands compute, and meanwhile the other sessions of the process
wait for the interpreter's lock. So a process whose sessions are in use rebuilds one session at a
time. The next one follows when the rebuild is done, or after 0.2 s: a longer rebuild may be waiting
for something, and the sessions behind it must not wait with it.
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
        self._hosts: dict[BaseSession, object] = {}  # by session, its process
        self._counts: Counter[object] = Counter()  # by process, its rebuilds
        self._latest: dict[object, tuple[BaseSession, float]] = {}  # and its end

    def begun(self, session: BaseSession, host: object) -> None:
        """The rebuild of this session begins, on this process."""
        self._hosts[session] = host
        self._counts[host] += 1
        self._latest[host] = (session, self._clock() + _MOMENT_S)

    def ended(self, session: BaseSession) -> None:
        """The rebuild of this session ends: it has its values again, or is over, or has lost its
        process. Idempotent."""
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
        """Whether this process still rebuilds the session that it got last, and got that one less
        than 0.2 s ago."""
        latest = self._latest.get(host)
        return latest is not None and latest[1] > self._clock()

    def left_s(self) -> float | None:
        """In how many seconds the next process stops being recent (see `is_recent`). None: no
        process is recent."""
        now = self._clock()
        return min((until - now for _, until in self._latest.values() if until > now), default=None)
