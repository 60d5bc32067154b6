"""`Meter`: the state of a progress bar or spinner, and when it is sent. Any number of updates, few
messages.

    a change, on any thread ─▶ Meter ─▶ Progress, at most 10 a second ─┬▶ the cell's client
                                                                       └▶ the terminal

The terminal is for code outside of any session. A change that comes too early to be sent is kept:
the next message contains it, and if no other change comes, a timer sends it.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable

from mpkernel.kernel.context import current_place
from mpkernel.kernel.messages import Progress
from mpkernel.kernel.shown.terminal import terminal
from mpkernel.late_logger import late_logger
from mpkernel.plain_text import encodable

__all__ = ["Meter"]

logger = late_logger(__name__)

_INTERVAL_S = 0.1
_MOST = 2**63 - 1
"""The largest number that every client can read from a message."""


class Meter:
    """Counts, keeps the texts, and sends both. For any thread.

    It begins with its first change. After its end nothing changes, and nothing is sent.
    """

    _total: int | None = None
    _show_rate = False
    _show_eta = False

    def __init__(self, title: str, subtitle: str, clock: Callable[[], float]) -> None:
        place = current_place()
        self._id = f"progress-{next(_numbers)}"
        self._cell = place.cell if place is not None else ""
        self._send = place.send if place is not None else terminal()
        self._clock = clock
        self._lock = threading.RLock()  # guards all that follows
        self._title = encodable(str(title))
        self._subtitle = encodable(str(subtitle))
        self._current = 0
        self._began_s: float | None = None
        self._done = False
        self._is_unsent = False
        self._is_sending = False
        self._due_s = -math.inf
        self._timer: threading.Timer | None = None
        _living.add(self)

    def _change(self, count: int, title: str | None, subtitle: str | None) -> None:
        with self._lock:
            if self._done:
                return
            self._current += count
            self._set_texts(title, subtitle)
            self._began_s = self._clock() if self._began_s is None else self._began_s
            self._is_unsent = True
            self._send_if_due()

    def _end(self, title: str | None, subtitle: str | None) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
            self._set_texts(title, subtitle)
            if self._timer is not None:
                self._timer.cancel()
            self._is_unsent = self._began_s is not None
            self._send_if_due()

    def _set_texts(self, title: str | None, subtitle: str | None) -> None:
        if title is not None:
            self._title = encodable(str(title))
        if subtitle is not None:
            self._subtitle = encodable(str(subtitle))

    def _send_if_due(self) -> None:
        # A __del__ may call this inside the sending below, on the same thread: the loop there sends
        # its change.
        if self._is_sending or self._send is None:
            return
        self._is_sending = True
        try:
            while self._is_unsent and (self._done or self._clock() >= self._due_s):
                self._is_unsent = False
                self._due_s = self._clock() + _INTERVAL_S
                self._send(self._progress())
        finally:
            self._is_sending = False
        if self._is_unsent and self._timer is None:
            self._send_later()

    def _send_later(self) -> None:
        timer = threading.Timer(max(0.0, self._due_s - self._clock()), self._send_late)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:  # no thread is left; the next change tries again
            logger.debug(
                "%s is sent with its next change, there is no thread for a timer: %s",
                self._id,
                error,
            )
            return
        self._timer = timer

    def _send_late(self) -> None:
        with self._lock:
            self._timer = None
            try:
                self._send_if_due()
            except OSError as gone:  # the host is about to end
                logger.debug("the server is gone; it does not learn of %s: %s", self._id, gone)

    def _progress(self) -> Progress:
        now_s = self._clock()
        elapsed_s = now_s - (now_s if self._began_s is None else self._began_s)
        current = min(self._current, _MOST)
        total = None if self._total is None else min(self._total, _MOST)
        rate_per_s = current / elapsed_s if current and elapsed_s > 0 else None
        eta_s = None
        if total is not None and rate_per_s is not None and not self._done:
            eta_s = max(0, total - current) / rate_per_s
        return Progress(
            id=self._id,
            cell=self._cell,
            title=self._title,
            subtitle=self._subtitle,
            current=current,
            total=total,
            rate_per_s=rate_per_s if self._show_rate else None,
            eta_s=eta_s if self._show_eta else None,
            elapsed_s=elapsed_s,
            done=self._done,
        )


_numbers = itertools.count(1)
_living: weakref.WeakSet[Meter] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a fork, a lock may be held by a thread that the fork does not have."""
    for meter in list(_living):
        meter._lock = threading.RLock()
        meter._is_sending = False
        meter._timer = None


os.register_at_fork(after_in_child=_renew_locks)
