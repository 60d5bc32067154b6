"""`Copies`: a session's side of the copies of it that are kept on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mpkernel.errors import HostDied, HostStartError, KernelFailed, MPKernelError
from mpkernel.logs import get_logger

__all__ = ["Copies", "SessionCopy"]

logger = get_logger(__name__)


class SessionCopy(Protocol):
    """Keeps a copy of a session. Called under the session's lock, from any thread."""

    def changed(self, *, by_client: bool) -> None:
        """The session has changed.

        Args:
            by_client: whether its client has sent something. Otherwise its kernel has done it.
        """

    def leave(self, content: bytes | None) -> None:
        """The session is over in this server. Its copy stays, so that it can come back."""

    def forget(self) -> None:
        """The session is over for good."""


class Copies:
    """The copies of one session, if it has any. Called under the session's lock, except `content`.

    Args:
        kept: returns what is to be kept of the session now, or None if nothing can be kept.
        app: absolute path of its app's file, for logs.
        session_id: the client's name for it, for logs.
    """

    def __init__(self, kept: Callable[[], bytes | None], app: str, session_id: str) -> None:
        self._kept = kept
        self._app = app
        self._session_id = session_id
        self._copies: list[SessionCopy] = []
        self._is_failing = False

    def content(self) -> bytes | None:
        """What is to be kept of the session now; None if nothing can be kept. From any thread.

        A journal of a user's own may fail. The log says so once, and this session alone is not
        stored until the journal works again."""
        try:
            content = _checked(self._kept())
        except Exception:
            if not self._is_failing:
                logger.exception(
                    "a session is not stored for now: its journal has failed",
                    app=self._app,
                    session=self._session_id,
                )
            self._is_failing = True
            return None
        self._is_failing = False
        return content

    def keep(self, copy: SessionCopy) -> None:
        """Keep this copy up to date from now on, too."""
        self._copies.append(copy)

    def changed(self, *, by_client: bool) -> None:
        """See `SessionCopy.changed`."""
        for copy in self._copies:
            copy.changed(by_client=by_client)

    def end(self, *, may_come_back: bool) -> None:
        """The session is over: its copies stay for sessions after it, or are removed."""
        copies, self._copies = self._copies, []
        content = self.content() if copies and may_come_back else None
        for copy in copies:
            if may_come_back:
                copy.leave(content)
            else:
                copy.forget()

    def end_with(self, error: MPKernelError | None, *, is_at_fault: bool, has_values: bool) -> None:
        """The session has ended with this error.

        Args:
            error: see `BaseSession.end`.
            is_at_fault: whether the session itself was the cause. Its copies are removed then: they
                would end the next process, too.
            has_values: see `RecoveryRecord.has_values`. A session without values whose kernel could
                not run has nothing to come back with.
        """
        is_in_vain = isinstance(error, HostStartError | HostDied | KernelFailed) and not has_values
        self.end(may_come_back=not (is_at_fault or is_in_vain))


def _checked(kept: object) -> bytes | None:
    """What a journal has kept, as bytes that do not change.

    Raises:
        TypeError: it is something else.
    """
    if kept is None or type(kept) is bytes:
        return kept
    if isinstance(kept, bytes | bytearray | memoryview):
        return bytes(kept)
    raise TypeError(f"Journal.kept() must return bytes or None, not {type(kept).__name__}")
