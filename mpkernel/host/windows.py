"""`Window` and `HostWindow`: what a host's sessions may have sent and their clients not yet taken.

`wire.windows` has the rules. This file says which threads wait, and which thread wakes them.
"""

from __future__ import annotations

import threading

from mpkernel.wire.windows import GUARANTEED_BYTES, goes_beyond_share, share_of

__all__ = ["HostWindow", "Window"]


class HostWindow:
    """The bytes that all sessions of a host have on their way beyond what each is guaranteed; see
    `wire.windows`.

    Args:
        size: how many bytes.

    Attributes:
        size: as given.
        used: how many bytes sessions are granted beyond what each is guaranteed; guarded by `lock`.
        lock: guards all windows of the host.
        waiting: the windows whose writers wait; guarded by `lock`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        # `with` is used on the lock itself, which is written in C. A condition's own `with` is
        # Python code, which an asynchronous exception could interrupt.
        self.lock = threading.RLock()
        self.waiting: set[Window] = set()


class Window:
    """How much of one session may be sent and not yet taken, by the rules of `wire.windows`.

    The rules are applied once for many messages: a session is granted a little more of the host's
    window than it needs, and gives back what it does not use when its client has taken something.

    Args:
        size: bytes.
        host: the window of all sessions.
    """

    def __init__(self, size: int, host: HostWindow) -> None:
        self._size = size
        self._host = host
        self._guaranteed = min(size, GUARANTEED_BYTES)
        self._granted = self._guaranteed  # guarded by _lock; at least what is outstanding
        self._outstanding = 0  # guarded by _lock
        self._closed = False  # guarded by _lock
        self._lock = host.lock
        # Each session has a condition of its own: a credit wakes only the writers that may go on.
        self._changed = threading.Condition(self._lock)

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is in the middle of a change. In a `__del__`, it may be."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    @property
    def closed(self) -> bool:
        """Whether the window is closed: nothing more is sent."""
        return self._closed

    def reserve(self, count: int, *, wait: bool = True) -> bool:
        """Wait until `count` bytes may be sent, and count them. Returns False when they must not be
        sent: the window is closed or, without `wait`, there is no room now."""
        with self._lock:
            outstanding = self._outstanding + count
            if outstanding <= self._granted and not self._closed:
                # This is the usual case. It takes one step only, since it is done for each message.
                self._outstanding = outstanding
                return True
            if not (self._closed or self._has_room(count)):
                if not wait:
                    return False
                self._wait_for(count)
            if self._closed:
                return False
            outstanding = self._outstanding + count
            self._grant(max(outstanding, min(self._share(), outstanding + GUARANTEED_BYTES)))
            self._outstanding = outstanding
            return True

    def wait_for_room(self, count: int) -> None:
        """Wait until `reserve` might take `count` bytes, or until the window is closed."""
        with self._lock:
            if not self._closed and not self._has_room(count):
                self._wait_for(count)

    def refund(self, count: int) -> None:
        """`count` bytes were taken, or were not sent after all."""
        with self._lock:
            # A credit may come after `close`: the outstanding bytes must not fall below 0.
            self._settle(max(0, self._outstanding - count))

    def close(self) -> None:
        """Give back all that is outstanding. Every thread that waits in `reserve` gets False."""
        with self._lock:
            self._closed = True
            self._settle(0)

    def _wait_for(self, count: int) -> None:
        waiting = self._host.waiting
        try:
            while not (self._closed or self._has_room(count)):
                waiting.add(self)  # in each turn: another writer of the session may have removed it
                self._changed.wait()
        finally:
            waiting.discard(self)

    def _share(self) -> int:
        host = self._host
        others = host.used - (self._granted - self._guaranteed)
        return share_of(self._size, host.size, others)

    def _has_room(self, count: int) -> bool:
        share = self._share()
        if self._outstanding + count <= share:
            return True
        host = self._host
        return goes_beyond_share(
            count, self._outstanding, share, host_size=host.size, host_used=host.used
        )

    def _grant(self, granted: int) -> None:
        self._host.used += granted - self._granted
        self._granted = granted

    def _settle(self, outstanding: int) -> None:
        used = self._host.used
        self._outstanding = outstanding
        self._grant(max(self._guaranteed, outstanding))
        self._changed.notify_all()
        if self._host.used < used:
            for window in self._host.waiting:
                if window._has_room(1):  # a writer that waits needs at least so much
                    window._changed.notify_all()
