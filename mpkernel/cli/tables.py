"""Text for a terminal: columns, sizes, ages, and apps' texts without control characters."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["age", "columns", "memory", "plain"]

_GAP = "  "


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as lines, each column as wide as its widest text.

    Args:
        rows: of as many texts each.
        right: which columns are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines


def plain(text: str) -> str:
    """A text on one line, without control characters that a terminal would carry out."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )


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
