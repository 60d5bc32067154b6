"""`Unwritten`: the sessions of a store that could not be written when they changed."""

from __future__ import annotations

import threading

from mpkernel.server.store.stored_session import StoredSession

__all__ = ["Unwritten"]

_MOST_BYTES = 64 * 1024 * 1024


class Unwritten:
    """Sessions that the store has to write later. From any thread.

    A session that lives is asked for its content then. One that is over has left its content here.

    Args:
        most_bytes: how large the contents of the sessions that are over may be together. If they
            are larger, the oldest are lost.
    """

    def __init__(self, *, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()  # guards all below
        self._sessions: dict[StoredSession, int] = {}  # with the bytes that each has left
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def add(self, session: StoredSession) -> None:
        """A session could not be written."""
        with self._lock:
            self._bytes -= self._sessions.pop(session, 0)
            self._sessions[session] = session.left_bytes
            self._bytes += session.left_bytes
            if self._bytes > self._most_bytes:
                self._lose_oldest()

    def last_of(self, key: str) -> StoredSession | None:
        """The last session of this key that could not be written; None for none."""
        with self._lock:
            return next((one for one in reversed(self._sessions) if one.key == key), None)

    def take(self) -> list[StoredSession]:
        """Give all of them, and forget them here."""
        with self._lock:
            sessions, self._sessions, self._bytes = list(self._sessions), {}, 0
        return sessions

    def _lose_oldest(self) -> None:
        for session in [one for one, size in self._sessions.items() if size]:
            if self._bytes <= self._most_bytes:
                break
            self._bytes -= self._sessions.pop(session)
