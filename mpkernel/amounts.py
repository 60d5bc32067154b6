"""Sizes and spans of time as people read them."""

from __future__ import annotations

__all__ = ["age", "memory"]


def memory(size: int | None) -> str:
    """A size in bytes, in about three digits; "-" for None."""
    if size is None:
        return "-"
    amount, units = float(size), ["TiB", "GiB", "MiB", "KiB", "B"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1024
        units.pop()
    return f"{amount:.3g} {units[-1]}" if amount < 100 else f"{amount:.0f} {units[-1]}"


def age(seconds: float) -> str:
    """A span of time, in its two largest units."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left} s"
    if left < 3600:
        return f"{left // 60} min {left % 60} s"
    if left < 86400:
        return f"{left // 3600} h {left % 3600 // 60} min"
    return f"{left // 86400} d {left % 86400 // 3600} h"
