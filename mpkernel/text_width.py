"""How many columns of a terminal a text takes, and the part of it that fits."""

from __future__ import annotations

import unicodedata

__all__ = ["beginning", "width"]

_MARKS = ("Mn", "Me")  # accents, vowel signs and the like: they stand at the character before


def width(text: str) -> int:
    """How many columns a text takes: an ideograph takes two, an accent none."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def beginning(text: str, columns: int) -> str:
    """The longest beginning of a text that takes at most so many columns."""
    if text.isascii():
        return text[: max(0, columns)]
    taken = 0
    for position, one in enumerate(text):
        taken += _width_of(one)
        if taken > columns:
            return text[:position]
    return text


def _width_of(one: str) -> int:
    if unicodedata.combining(one) or unicodedata.category(one) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1
