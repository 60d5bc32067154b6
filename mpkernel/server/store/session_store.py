"""`SessionStore`: the copies of a server's sessions on the disk, for the server after it.

A session says that it has changed; a thread of the store asks it for its content a little later,
and writes it. So what the disk does never keeps a session waiting, and of many changes within that
time only the last is written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mpkernel.aio.threads import off_the_loop
from mpkernel.logs import get_logger
from mpkernel.private_files import session_directory
from mpkernel.server.store.failing import Failing
from mpkernel.server.store.keys import key_of
from mpkernel.server.store.owners import Folders
from mpkernel.server.store.records import UnknownVersion, content_of
from mpkernel.server.store.session_file import read_file
from mpkernel.server.store.stored_session import StoredSession
from mpkernel.server.store.unwritten import Unwritten
from mpkernel.settings import Settings

__all__ = ["SessionStore", "Taken", "key_of"]

logger = get_logger(__name__)

_SWEEP_INTERVAL_S = 60.0
_CLOSE_WITHIN_S = 4.0
_WORK_S = 0.002
_PAUSE_S = 0.002
"""The store's thread writes for `_WORK_S`, and then lets other threads work for `_PAUSE_S`."""


class Taken(NamedTuple):
    """What was stored of a session.

    Attributes:
        app: absolute path of the file of its app.
        content: what was kept of it.
        is_of_this_server: whether this server has stored it.
    """

    app: str
    content: bytes
    is_of_this_server: bool


class SessionStore:
    """The store of one server. From any thread.

    Args:
        directory: where. Default: `private_files.session_directory()`.
        delay_s: how long after a change it is written. 0: `StoredSession.changed` writes, and
            returns when it is on the disk itself.
        ttl_s: how long the copy of a session that does not live is kept.
        most_sessions: how many copies are kept, of this server and of dead ones.
        most_bytes: how large they may be together.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        delay_s: float,
        ttl_s: float,
        most_sessions: int,
        most_bytes: int,
    ) -> None:
        self._directory = directory if directory is not None else session_directory()
        self.delay_s = delay_s
        self._ttl_s = ttl_s
        self._most_sessions = most_sessions
        self._most_bytes = most_bytes
        self._opening = threading.Lock()  # guards _folders; held while the disk is used
        self._folders: Folders | None = None
        # A session that changes must not wait for the store's thread: with a lock that both use, it
        # would wait whenever the other has the lock and not the interpreter. A deque needs none.
        self._changed: deque[StoredSession] = deque()
        self._unwritten = Unwritten()
        self._failing = Failing(self._directory)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards all below
        self._sessions: dict[str, StoredSession] = {}
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, settings: Settings) -> SessionStore | None:
        """The store that these settings ask for."""
        if not settings.session_store:
            return None
        return cls(
            session_directory(settings.session_store_directory),
            delay_s=settings.session_store_delay_s,
            ttl_s=settings.session_store_ttl_s,
            most_sessions=settings.session_store_sessions,
            most_bytes=settings.session_store_bytes,
        )

    async def take(self, key: str) -> Taken | None:
        """What this server or one that is dead has stored of a session that does not live. From now
        on it is this server's. None: there is nothing, or it is too old, damaged, not for this
        user, or written by another version of mpkernel.

        Args:
            key: see `key_of`.
        """
        if self._closing.is_set():
            return None
        with self._lock:
            before = self._before(key)
        if before is not None:
            left = before.left(self._ttl_s)
            return None if left is None else Taken(before.app, left, True)
        if self._failing.is_pausing and self._folders is None:
            return None
        return await off_the_loop(lambda: self._take(key))

    def keep(self, key: str, app: str, content: Callable[[], bytes | None]) -> StoredSession | None:
        """Store a session from its next change on. Returns None if a session of this key that still
        lives is stored already.

        Args:
            key: see `key_of`.
            app: absolute path of the file of its app.
            content: what to write, when it is asked for, on the store's thread; None: nothing.
        """
        with self._lock:
            before = self._before(key)
            if self._closing.is_set() or (before is not None and not before.is_over):
                return None
            stored = StoredSession(self, key, app, content, before)
            self._sessions[key] = stored
            return stored

    def _before(self, key: str) -> StoredSession | None:
        """The last session of this key that lives, or is still to be written. Under the lock."""
        return self._sessions.get(key) or self._unwritten.last_of(key)

    async def close(self) -> None:
        """Write what has changed, and leave the files to the next server. Idempotent."""
        await off_the_loop(self.close_now)

    def close_now(self) -> None:
        """`close`, for a thread that may wait for the disk."""
        self._closing.set()
        self._wake.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSE_WITHIN_S)
        elif self._unwritten:  # no thread could be started
            self._run()
        with self._opening:
            if self._folders is not None:
                self._folders.close()

    def note(self, session: StoredSession) -> None:
        """A session has changed."""
        self._changed.append(session)
        self._awake()

    def write(
        self, session: StoredSession, content: bytes | None, *, after: int | None = None
    ) -> None:
        """Write the content of a session now. If that fails, or the store failed a short time ago,
        the session is written later.

        Args:
            session, content: which, and what.
            after: see `StoredSession.write_into`.
        """
        if self._failing.is_pausing or not self._is_written(session, content, after):
            self._unwritten.add(session)
            self._awake()
        if session.is_over:
            with self._lock:
                if self._sessions.get(session.key) is session:
                    del self._sessions[session.key]

    def _is_written(self, session: StoredSession, content: bytes | None, after: int | None) -> bool:
        try:
            folders = self._opened()
            session.write_into(folders.own, content, durable=self.delay_s == 0, after=after)
        except OSError as error:
            self._failed(error)
            return False
        except Exception:  # the next change tries it again; the others are still written
            logger.exception("a session could not be stored app=%s", session.app)
            return True
        self._failing.worked()
        return True

    def _awake(self) -> None:
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="mpkernel.store", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the next change tries again, and `close_now`
                logger.debug("the session store could not start its thread: %s", error)
                self._put_off()
            else:
                self._thread = thread

    def _put_off(self) -> None:
        """Have the sessions that have changed written later, as if the disk had failed."""
        for _ in range(len(self._changed)):
            session = self._changed.popleft()
            session.put_off()
            self._unwritten.add(session)

    def _run(self) -> None:
        sweep_at = 0.0
        is_last = False
        while not is_last:
            due_at = min(sweep_at, self._failing.retry_at) if self._unwritten else sweep_at
            if self._wake.wait(max(0.0, due_at - time.monotonic())):
                self._closing.wait(self.delay_s)
            self._wake.clear()
            is_last = self._closing.is_set()
            if is_last:
                self._failing.retry_now()
            if not self._failing.is_pausing:
                self._changed.extend(self._unwritten.take())
            self._write_changed()
            if not is_last and time.monotonic() >= sweep_at:
                self._sweep()
                sweep_at = time.monotonic() + _SWEEP_INTERVAL_S

    def _write_changed(self) -> None:
        pause_at = time.monotonic() + _WORK_S
        for _ in range(len(self._changed)):
            session = self._changed.popleft()
            after = session.times_written
            self.write(session, session.content(), after=after)
            if time.monotonic() >= pause_at:
                self._closing.wait(_PAUSE_S)  # the loop's thread has the interpreter meanwhile
                pause_at = time.monotonic() + _WORK_S

    def _opened(self) -> Folders:
        found = self._folders
        if found is not None:
            return found
        with self._opening:
            if self._folders is None:
                self._folders = Folders(self._directory)
            return self._folders

    def _take(self, key: str) -> Taken | None:
        try:
            folders = self._opened()
            with folders.found(key) as path:
                return None if path is None else self._taken_from(path, folders.own / key)
        except OSError as error:
            self._failed(error)
            return None

    def _taken_from(self, path: Path, ours: Path) -> Taken | None:
        try:
            is_old = time.time() - path.lstat().st_mtime > self._ttl_s
            found = None if is_old else content_of(read_file(path, self._most_bytes))
        except UnknownVersion:
            logger.info("a stored session is of another version of mpkernel file=%s", path)
            return None
        except OSError as error:
            logger.warning("a stored session cannot be read: %s", error)
            return None
        if found is None or found[0].key != ours.name:
            path.unlink()
            return None
        if path != ours:
            path.rename(ours)
        return Taken(found[0].app, found[1], path == ours)

    def _sweep(self) -> None:
        with self._lock:
            live = set(self._sessions)
        try:
            removed = self._opened().sweep(
                live=live,
                ttl_s=self._ttl_s,
                most_files=self._most_sessions,
                most_bytes=self._most_bytes,
            )
        except TimeoutError as error:  # what is written needs no lock
            logger.warning("stored sessions that are too old are removed later: %s", error)
        except OSError as error:
            self._failed(error)
        else:
            if removed:
                logger.info("stored sessions were removed count=%d", len(removed))

    def _failed(self, error: OSError) -> None:
        if self._is_begun_anew():
            return
        self._failing.failed(error)

    def _is_begun_anew(self) -> bool:
        """If somebody has removed this server's folder, have a new one made, and its sessions
        written into it. Returns whether that was so."""
        with self._opening:
            if self._folders is None or self._folders.own.is_dir():
                return False
            self._folders.close()
            self._folders = None
        logger.warning(
            "the folder of stored sessions was removed: it is made anew directory=%s",
            self._directory,
        )
        with self._lock:
            live = [session for session in self._sessions.values() if session.times_written]
        for session in live:
            self._unwritten.add(session)
        self._awake()
        return True
