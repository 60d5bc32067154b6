"""`StoredSession`: one session of a store, as the session itself sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mpkernel.server.store.records import About
from mpkernel.server.store.session_file import SessionFile

__all__ = ["StoredSession"]


class Writer(Protocol):
    """What it needs of its store.

    Attributes:
        delay_s: how long after a change it is written.
    """

    delay_s: float

    def note(self, session: StoredSession) -> None:
        """Have a session written after `delay_s`."""
        ...

    def write(self, session: StoredSession, content: bytes | None) -> None:
        """Write a session now."""
        ...


class StoredSession:
    """One session that is stored; `SessionStore.keep` makes it. Its methods return at once, unless
    the store's delay is 0.

    Args:
        writer: the store.
        key, app, content: see `SessionStore.keep`.
        before: a session of the same key that is over, and may still have to be written. Default:
            there is none.

    Attributes:
        key, app: as given to `keep`.
        is_over: whether the session is over.
        times_written: how often the copy was written.
    """

    def __init__(
        self,
        writer: Writer,
        key: str,
        app: str,
        content: Callable[[], bytes | None],
        before: StoredSession | None = None,
    ) -> None:
        self.key = key
        self.app = app
        self.is_over = False
        self.times_written = 0
        self._writer = writer
        self._content = content
        self._began_at = time.time()
        self._last: bytes | None = None
        self._ended_at = 0.0
        self._is_unwanted = False
        self._is_noted = False
        self._before = before
        self._is_replaced = False
        self._writing = threading.Lock()  # guards _file, times_written, _before and _is_replaced
        self._file: SessionFile | None = None

    def changed(self, *, by_client: bool) -> None:
        """The session has changed.

        Args:
            by_client: whether its client has sent something. If not, its kernel has done something
                that was sent before, and a store without a delay has that already.
        """
        if self.is_over:
            return
        if self._writer.delay_s == 0:
            if by_client:
                self._writer.write(self, self._content())
        elif not self._is_noted:
            self._is_noted = True
            self._writer.note(self)

    def leave(self, content: bytes | None) -> None:
        """The session is over here, and may come back: keep its last content."""
        if not self.is_over:
            self._last = content
            self._end()

    def forget(self) -> None:
        """The session is over for good: remove its copy."""
        self._is_unwanted = True
        self._end()

    def _end(self) -> None:
        self._ended_at = time.monotonic()
        self.is_over = True
        self._writer.note(self)

    def left(self, ttl_s: float) -> bytes | None:
        """The last content of a session that is over and may come back; None for any other.

        Args:
            ttl_s: how long it may come back.
        """
        is_left = self.is_over and not self._is_unwanted
        return self._last if is_left and time.monotonic() < self._ended_at + ttl_s else None

    @property
    def left_bytes(self) -> int:
        """The size of the last content of a session that is over."""
        return len(self._last or b"")

    def content(self) -> bytes | None:
        """Called by the store: what to write now."""
        self._is_noted = False  # what changes from here on is written next time
        return self._last if self.is_over else self._content()

    def put_off(self) -> None:
        """Called by the store: its content was not asked for, so the next change tells the store
        again."""
        self._is_noted = False

    def write_into(
        self, folder: Path, content: bytes | None, *, durable: bool, after: int | None = None
    ) -> None:
        """Called by the store: write the copy, or remove it.

        Args:
            folder, content: where, and what.
            durable: see `SessionFile.write`.
            after: what `times_written` was before the content was asked for. If the copy was
                written since, that was a later content, and nothing is done.

        Raises:
            OSError: that was not possible.
        """
        with self._writing:
            if self._is_replaced or (after is not None and after != self.times_written):
                return
            if self._before is not None and (self._is_unwanted or content is not None):
                self._before.replaced()
                self._before = None
            if self.is_over:
                self._before = None  # else one would keep another, and so on
            if self._file is None or self._file.path.parent != folder:
                self._file = SessionFile(
                    folder / self.key, About(self.key, self.app, self._began_at)
                )
            if self._is_unwanted:
                self._file.remove()
            elif content is not None:
                self._file.write(content, durable=durable)
            self.times_written += 1

    def replaced(self) -> None:
        """Called by the next session of the same key before it is written: nothing of this one is
        written any more. If it is being written, this waits for that."""
        with self._writing:
            self._is_replaced = True
            before, self._before = self._before, None
        if before is not None:
            before.replaced()
