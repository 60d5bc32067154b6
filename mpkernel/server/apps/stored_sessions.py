"""`StoredSessions`: the sessions of a pool that come back after the end of its server."""

from __future__ import annotations

from mpkernel.errors import ProtocolError
from mpkernel.logs import get_logger
from mpkernel.server.apps.app import App
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.sessions.journal import Journal
from mpkernel.server.store.session_store import SessionStore, Taken, key_of
from mpkernel.server.store.shared_copies import SharedCopies
from mpkernel.server.supervision.deaths import Death, Reason
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["StoredSessions", "is_loaded"]

logger = get_logger(__name__)


class StoredSessions:
    """A pool's use of the session store. Without `Settings.session_store`, it stores nothing and
    finds nothing.

    Args:
        settings: the pool's.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = SessionStore.of(settings)
        self._shared: SharedCopies | None = None
        if self._store is not None:
            self._shared = SharedCopies(self._store, settings.session_store_ttl_s)

    @property
    def are_kept(self) -> bool:
        """Whether sessions are stored."""
        return self._store is not None

    async def take(self, key: str) -> Taken | None:
        """What is stored of a session that does not live; see `SessionStore.take`.

        Args:
            key: see `key_of`.
        """
        return None if self._store is None else await self._store.take(key)

    def keep(self, session: BaseSession, key: str) -> None:
        """Store a session that has just been opened, from its next change on.

        Args:
            session: which.
            key: see `key_of`.
        """
        if self._store is None:
            return
        copy = self._store.keep(key, session.app.path, session.copies.content)
        if copy is not None:
            session.copies.keep(copy)

    async def take_shared(self, key: str) -> Taken | None:
        """What several sessions have stored together, whether one of them lives or not.

        Args:
            key: see `key_of`.
        """
        return None if self._shared is None else await self._shared.take(key)

    def keep_shared(self, session: BaseSession, key: str) -> None:
        """Store a session that has just been opened in the place of others of this key, whenever
        its client is the one that sent something last.

        Args:
            session: which.
            key: see `key_of`.
        """
        if self._shared is None:
            return
        copy = self._shared.join(key, session.app.path, session.copies.content)
        if copy is not None:
            session.copies.keep(copy)

    async def open(
        self, app: App, session: BaseSession, kernel: KernelSpec, journal: Journal, authority: str
    ) -> None:
        """Open a session of the app: as it was, if it is stored, else as a new one.

        Args:
            app: the app.
            session, kernel: see `App.open`.
            journal: the session's, which is new.
            authority: see `key_of`.

        Raises: what `App.open` raises.
        """
        key = key_of(app.path, session.session_id, authority)
        taken = await self.take(key)
        if taken is not None and is_loaded(journal, taken.content, session.session_id):
            what = f"the server of {app.name} was restarted"
            if taken.is_of_this_server:
                what = f"the session {session.session_id} of {app.name} had ended"
            session.record.was_stored = True
            app.open_again(
                session, kernel, Death(app=app.path, pid=0, reason=Reason.UNKNOWN, what=what)
            )
        else:
            app.open(session, kernel)
        self.keep(session, key)

    async def close(self) -> None:
        """Write what has changed. Idempotent."""
        if self._store is not None:
            await self._store.close()


def is_loaded(journal: Journal, content: bytes, session_id: str) -> bool:
    """Let a new journal take over what another server stored. Returns whether it could."""
    try:
        journal.load(content)
    except ProtocolError as error:
        logger.info("a stored session cannot come back: %s", error, session=session_id)
        return False
    journal.count_all_as_begun()
    return True
