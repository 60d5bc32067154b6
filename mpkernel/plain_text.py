"""Makes texts of apps and other users safe to show, to log or to send."""

from __future__ import annotations

__all__ = ["encodable", "plain"]


def encodable(text: str) -> str:
    """The text with lone surrogates, which no message can carry, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def plain(text: str) -> str:
    """The text on one line, with control characters escaped: a terminal would obey them."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
