"""Sizes and times as people read them. The numbers come from files and messages of other processes,
so every number must give a text."""

from __future__ import annotations

import time

__all__ = ["age", "calendar", "memory"]

_MANY_BYTES = 2.0**70
_MANY_SECONDS = 1e12


def memory(size: float | None) -> str:
    """A size in bytes, in about three digits; "-" for None and for numbers that are no size."""
    if size is None or not abs(size) < _MANY_BYTES:  # true for NaN, too
        return "-"
    amount, units = float(size), ["TiB", "GiB", "MiB", "KiB", "B"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1024
        units.pop()
    return f"{amount:.3g} {units[-1]}" if amount < 100 else f"{amount:.0f} {units[-1]}"


def age(seconds: float) -> str:
    """A span of time in seconds, in its two largest units; "-" for numbers that are no span."""
    if not seconds < _MANY_SECONDS:
        return "-"
    left = int(max(0.0, seconds))
    if left < 60:
        return f"{left} s"
    if left < 3600:
        return f"{left // 60} min {left % 60} s"
    if left < 86400:
        return f"{left // 3600} h {left % 3600 // 60} min"
    return f"{left // 86400} d {left % 86400 // 3600} h"


def calendar(at: float) -> str:
    """A date and a time in this machine's time zone; "-" for numbers that are no date.

    Args:
        at: seconds since the epoch.
    """
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "-"
