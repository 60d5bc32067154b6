"""`OpenSessions`: the sessions of an app that are open: their names, and how many there may be.

A session is open until its client closes it, or until it ends. From then on another session may
have its name, and counts in its place, also while the kernel of the first one is still ending.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mpkernel.errors import AppUnavailable, SessionNameTaken
from mpkernel.server.sessions.base import BaseSession

__all__ = ["OpenSessions"]


class OpenSessions:
    """One app's. On the loop's thread, but for `closed`.

    Args:
        app: the app's short name, for messages.
        most: how many there may be; None: any number.
    """

    def __init__(self, app: str, most: int | None) -> None:
        self._app = app
        self._most = most
        self._by_name: dict[str, BaseSession] = {}  # single dict operations, each one atomic

    def __len__(self) -> int:
        return len(self._by_name)

    def check_name(self, session: BaseSession) -> None:
        """
        Raises:
            SessionNameTaken: another session that is open has the same name.
        """
        if session.session_id in self._by_name:
            raise SessionNameTaken(
                f"a session {session.session_id} of {self._app} is open already",
                remedy="close that one first, or choose another session_id",
            )

    def check_room(self) -> None:
        """
        Raises:
            AppUnavailable: there are as many sessions as there may be.
        """
        if self._most is not None and len(self) >= self._most:
            raise AppUnavailable(
                f"{self._app} has as many sessions as it may have (sessions_max is {self._most})",
                remedy="try again when others have closed theirs",
            )

    @contextmanager
    def opening(self, session: BaseSession) -> Iterator[None]:
        """Count the session as open from now on. If the `with` block raises, it is not open."""
        self._by_name[session.session_id] = session
        try:
            yield
        except BaseException:
            self.closed(session)
            raise

    def closed(self, session: BaseSession) -> None:
        """The session was closed, or has ended. Idempotent; from any thread."""
        if self._by_name.get(session.session_id) is session:
            self._by_name.pop(session.session_id, None)
