"""`Window` and `HostWindow`: what a host's sessions may have sent and their clients not yet taken.

The rules are `wire.windows`'; here is who waits, and who wakes whom.
"""

from __future__ import annotations

import threading

from mpkernel.wire.windows import GUARANTEED_BYTES, goes_beyond_share, share_of

__all__ = ["HostWindow", "Window"]


class HostWindow:
    """What all sessions of a host have on its way beyond what each is guaranteed; see
    `wire.windows`.

    Args:
        size: how many bytes.

    Attributes:
        size: as given.
        used: how many sessions are granted beyond what each is guaranteed; guarded by `lock`.
        lock: guards all windows of the host.
        waiting: the windows whose writers wait; guarded by `lock`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        # The lock is entered as such, for a condition's own `with` is Python code.
        self.lock = threading.RLock()
        self.waiting: set[Window] = set()


class Window:
    """How much of one session may be sent and not yet taken. The rules are `wire.windows`'.

    They are asked once for many messages: a session is granted a little more of the host's window
    than it needs, and gives back what it does not use when its client has taken something.

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
        # One for each session: a credit wakes the writers that may go, not all that wait.
        self._changed = threading.Condition(self._lock)

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is in the middle of a change: a `__del__` is."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    @property
    def closed(self) -> bool:
        """Whether nobody wants anything any more."""
        return self._closed

    def reserve(self, count: int, *, wait: bool = True) -> bool:
        """Wait until `count` bytes may go, and count them. False: the window is closed, and
        nobody wants them any more; or, without `wait`, they may not go now."""
        with self._lock:
            outstanding = self._outstanding + count
            if outstanding <= self._granted and not self._closed:
                # As a rule, and in one step, for this is done for every message.
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
            # A credit may overtake a close; what is outstanding never falls below nothing.
            self._settle(max(0, self._outstanding - count))

    def close(self) -> None:
        """Give back all that is outstanding; let every waiter go, empty-handed."""
        with self._lock:
            self._closed = True
            self._settle(0)

    def _wait_for(self, count: int) -> None:
        waiting = self._host.waiting
        try:
            while not (self._closed or self._has_room(count)):
                waiting.add(self)  # each time: another writer of the session may have taken it off
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
                if window._has_room(1):  # whoever waits needs so much at the least
                    window._changed.notify_all()
