"""`SharedCopies`: copies on the disk that several sessions share.

All tabs that one browser has of an app share one copy. It is the copy of the session whose client
sent something last, and it stays when that session is over. A session that begins later can begin
with it, in this server or in the next one.

    the client of a session sends something     the copy is this session's from now on
    this session is over                        the copy stays as the session has left it
    this session has ended its own process      the copy is another session's, or is empty
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mpkernel.aio.threads import off_the_loop
from mpkernel.server.store.session_store import SessionStore, Taken
from mpkernel.server.store.stored_session import StoredSession

__all__ = ["Membership", "SharedCopies"]

_FORGOTTEN = b""
"""The content of a copy whose session ended its own process."""

_MOST_IDLE = 200
"""How many copies without a session are kept in memory. Of others, only the file is kept."""


class SharedCopies:
    """The shared copies of one server. From any thread.

    Args:
        store: where they are.
        ttl_s: how long a copy without a session is kept.
    """

    def __init__(self, store: SessionStore, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._lock = threading.Lock()  # guards all below
        self._copies: dict[str, _Copy] = {}  # by key
        # Those without a session, the one that was left last at the end. Single operations, each
        # one atomic: a session that leaves does not wait for the lock.
        self._idle: dict[str, _Copy] = {}

    async def take(self, key: str) -> Taken | None:
        """What a new session can begin with; None for nothing.

        Args:
            key: see `session_store.key_of`.
        """
        with self._lock:
            self._drop_idle(most=_MOST_IDLE)
            copy = self._copies.get(key)
        if copy is None:
            taken = await self._store.take(key)
        else:
            content = await off_the_loop(copy.content)  # the file waits for the session that has it
            taken = None if content is None else Taken(copy.app, content, True)
        return taken if taken is not None and taken.content != _FORGOTTEN else None

    def join(self, key: str, app: str, content: Callable[[], bytes | None]) -> Membership | None:
        """Let one more session share a copy. None where the store is closed.

        Args:
            key: see `session_store.key_of`.
            app: absolute path of the file of its app.
            content: see `SessionStore.keep`.
        """
        with self._lock:
            self._drop_idle(most=_MOST_IDLE)
            copy = self._copies.get(key)
            if copy is None:
                copy = _Copy(key, app, self._idle)
                stored = self._store.keep(key, app, copy.content)
                if stored is None:
                    return None
                copy.stored = stored
            self._copies[key] = copy
            return copy.join(content)

    def _drop_idle(self, *, most: int) -> None:
        """Forget copies without a session that are too old or too many. The caller holds the
        lock."""
        oldest = time.monotonic() - self._ttl_s
        for place, (key, copy) in enumerate(reversed(list(self._idle.items()))):
            if place >= most or copy.left_at < oldest:
                del self._copies[key], self._idle[key]
                copy.stored.leave(copy.content())


class _Copy:
    """One copy, with the sessions that share it.

    Args:
        key: its name in the store.
        app: absolute path of the file of its app.
        idle: where it is, by its key, while no living session shares it.

    Attributes:
        app: as given.
        stored: the copy in the store.
        left_at: when its last session was over, by `time.monotonic()`.
    """

    stored: StoredSession

    def __init__(self, key: str, app: str, idle: dict[str, _Copy]) -> None:
        self._key = key
        self._idle = idle
        self.app = app
        self.left_at = 0.0
        self._lock = threading.Lock()  # guards all below; who holds it waits for no session's lock
        self._members: dict[Membership, None] = {}  # last: whose client sent last
        self._last: Callable[[], bytes | None] = _nothing

    def content(self) -> bytes | None:
        """What to write now."""
        return self._last()

    def join(self, content: Callable[[], bytes | None]) -> Membership:
        """See `SharedCopies.join`."""
        member = Membership(self, content)
        with self._lock:
            self._members = {member: None, **self._members}
            self._idle.pop(self._key, None)
        return member

    def changed(self, member: Membership, *, by_client: bool) -> None:
        """See `SessionCopy.changed`."""
        with self._lock:
            if by_client:
                self._members.pop(member, None)
                self._members[member] = None
                self._last = member.content
            is_of_this_one = self._last == member.content
        if is_of_this_one:
            self.stored.changed(by_client=by_client)

    def leave(self, member: Membership, content: bytes | None) -> None:
        """See `SessionCopy.leave`."""
        with self._lock:
            self._left(member)
            if self._last != member.content:
                return
            self._last = lambda: content
        self.stored.changed(by_client=False)

    def forget(self, member: Membership) -> None:
        """See `SessionCopy.forget`."""
        with self._lock:
            self._left(member)
            if self._last != member.content:
                return
            others = list(self._members)
            self._last = others[-1].content if others else lambda: _FORGOTTEN
        self.stored.changed(by_client=False)

    def _left(self, member: Membership) -> None:
        """A session shares it no more. The caller holds the lock."""
        self._members.pop(member, None)
        self.left_at = time.monotonic()
        if not self._members:
            self._idle.pop(self._key, None)
            self._idle[self._key] = self


class Membership:
    """What one session has of a copy that it shares with others: a `SessionCopy`.

    Attributes:
        content: as given to `SharedCopies.join`.
    """

    def __init__(self, copy: _Copy, content: Callable[[], bytes | None]) -> None:
        self.content = content
        self._copy = copy

    def changed(self, *, by_client: bool) -> None:
        """See `SessionCopy.changed`."""
        self._copy.changed(self, by_client=by_client)

    def leave(self, content: bytes | None) -> None:
        """See `SessionCopy.leave`."""
        self._copy.leave(self, content)

    def forget(self) -> None:
        """See `SessionCopy.forget`."""
        self._copy.forget(self)


def _nothing() -> None:
    return None
