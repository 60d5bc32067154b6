"""`Credits`: tells a process how much output the clients of its sessions have taken.

    client took ─▶ taken(number, bytes) ─┬─ much is owed ──▶ told at once
                                         └─ little is owed ─▶ told with all others, 50 ms later

A credit for each small message would cost more than the message itself. Credits that are collected
for 50 ms are written together, so the process is woken once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from mpkernel.aio.slices import in_slices
from mpkernel.aio.tasks import supervised_task
from mpkernel.server.hosts.host_limits import HostLimits
from mpkernel.wire.messages import Credit

__all__ = ["Credits"]

_TOLD_WITHIN_S = 0.05
_TOLD_AT_ONCE = 500


class Credits:
    """The credits of one host. From any thread.

    Args:
        loop: the running loop.
        limits: says how many bytes may be owed before a credit is due, and counts what was taken.
        tell: called with a session's number and the credit for its kernel.
        hold: called before `tell` is called for several: what they send may be written together.
            Default: nothing is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: HostLimits,
        tell: Callable[[int, Credit], None],
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._hold = hold
        self._limits = limits
        self._tell = tell
        self._lock = threading.Lock()  # guards all below
        self._owed: dict[int, int] = {}  # bytes, by the session's number
        self._will_tell = False

    def taken(self, number: int, count: int) -> None:
        """The client of the session of this number took so many bytes."""
        with self._lock:
            owed = self._owed.pop(number, 0) + count
            is_due = owed >= self._limits.credit_bytes
            if not is_due:
                self._owed[number] = owed
            shall_call = not (is_due or self._will_tell)
            if shall_call:
                self._will_tell = True
        if is_due:
            self._pay(number, owed)
        elif shall_call:
            self._loop.call_soon_threadsafe(self._pay_all_later)

    def forget(self, number: int) -> None:
        """The session has ended. Bytes for which no credit was sent yet count as taken."""
        with self._lock:
            owed = self._owed.pop(number, 0)
        self._limits.taken(owed)

    def _pay(self, number: int, count: int) -> None:
        self._tell(number, Credit(count))
        self._limits.taken(count)

    def _pay_with_others(self, owed: tuple[int, int]) -> None:
        self._hold()
        self._pay(*owed)

    def _pay_all_later(self) -> None:
        self._loop.call_later(_TOLD_WITHIN_S, self._pay_all)

    def _pay_all(self) -> None:
        with self._lock:
            owed, self._owed = self._owed, {}
            self._will_tell = False
        if len(owed) <= _TOLD_AT_ONCE:
            for one in owed.items():
                self._pay_with_others(one)
        else:
            paying = in_slices(owed.items(), self._pay_with_others)
            supervised_task(paying, name="mpkernel.credits")
