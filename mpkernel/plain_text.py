"""Texts of others, before they are shown in a terminal or written into a log."""

from __future__ import annotations

__all__ = ["plain"]


def plain(text: str) -> str:
    """A text on one line, without control characters that a terminal would carry out."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
