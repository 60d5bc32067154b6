"""`RecoveryProgress`: tells sessions that wait for a process how many of their app are back.

Most sessions come back so fast that there is nothing to tell. They wait longer while their process
may not be started yet, and when they come back one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from mpkernel.logs import get_logger
from mpkernel.server.sessions.base import BaseSession

__all__ = ["RecoveryProgress"]

logger = get_logger(__name__)

_INTERVAL_S = 1.0
_SLICE_S = 0.005


class RecoveryProgress:
    """The progress of one app. On the loop's thread.

    Sessions are told when they have waited for a second, and then at most once a second, when a
    number has changed.

    Args:
        loop: the running loop.
        waiting: gives the sessions that have lost their process and wait for another one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: Callable[[], Collection[BaseSession]],
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._came_back: set[BaseSession] = set()
        self._told: dict[BaseSession, tuple[int, int]] = {}
        self._to_tell: deque[BaseSession] = deque()
        self._is_under_way = False

    def begin(self) -> None:
        """Sessions have lost their process: begin to tell them. Idempotent."""
        if not self._is_under_way:
            self._is_under_way = True
            self._loop.call_later(_INTERVAL_S, self._look)

    def came_back(self, session: BaseSession) -> None:
        """Count a session that has a process again."""
        if self._is_under_way:
            self._came_back.add(session)

    def _look(self) -> None:
        waiting = self._waiting()
        if not waiting:
            self._is_under_way = False
            self._came_back.clear()
            self._told.clear()
            return
        here = [one for one in self._came_back if one.host is not None and not one.over]
        back = sum(not one.record.is_rebuilding for one in here)
        now = (back, len(here) + len(waiting))
        self._to_tell = deque(one for one in waiting if self._told.get(one) != now)
        self._told = dict.fromkeys(waiting, now)
        self._tell()

    def _tell(self) -> None:
        until = self._loop.time() + _SLICE_S
        while self._to_tell:
            session = self._to_tell.popleft()
            if session.host is None and not session.over:
                _tell(session, *self._told[session])
            if self._loop.time() >= until:
                self._loop.call_soon(self._tell)
                return
        self._loop.call_later(_INTERVAL_S, self._look)


def _tell(session: BaseSession, back: int, all_of_them: int) -> None:
    try:
        session.on_waiting(back, all_of_them)
    except Exception:  # the other sessions must still be told
        logger.exception(
            "a client could not be told that its session waits",
            app=session.app.path,
            session=session.session_id,
        )
