"""`ShortTimer`: makes a call after less than a millisecond. The timers of asyncio and of uvloop
count whole milliseconds, so this one is a descriptor of the system's (`timerfd`, Linux only)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

from mpkernel.aio.forks import release, withhold_from_forks

__all__ = ["ShortTimer"]

_NS_PER_S = 1_000_000_000
_CLOCK_MONOTONIC = 1
_libc = ctypes.PyDLL(None, use_errno=True)  # its calls do not wait, so Python's lock is kept
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TIMES = struct.Struct("@qqqq")  # struct itimerspec: the interval, then the time of the first call


class ShortTimer:
    """On the loop's thread.

    Args:
        loop: makes the calls.
        call: what to call.

    Raises:
        OSError: there is no such timer here, or no descriptor is left for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        self._loop = loop
        self._call = call
        try:
            create = _libc.timerfd_create
        except AttributeError:
            raise OSError("this system has no timers that are descriptors") from None
        self._fd: int = create(_CLOCK_MONOTONIC, _FLAGS)
        if self._fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            loop.add_reader(self._fd, self._on_time)
        except BaseException:
            os.close(self._fd)
            raise
        withhold_from_forks(self._fd)

    def start(self, delay_s: float) -> None:
        """Make the call after this time, once. What was started before does not count any more."""
        times = _TIMES.pack(0, 0, *divmod(max(1, int(delay_s * _NS_PER_S)), _NS_PER_S))
        if _libc.timerfd_settime(self._fd, 0, times, None) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        """Make no call any more. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            release(fd)
            os.close(fd)

    def _on_time(self) -> None:
        if self._fd < 0:
            return
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was started anew after the loop had seen it
            return
        self._call()
