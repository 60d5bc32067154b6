"""Makes texts of apps and other users safe to show in a terminal or to write into a log."""

from __future__ import annotations

__all__ = ["plain"]


def plain(text: str) -> str:
    """The text on one line, with control characters escaped: a terminal would obey them."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
