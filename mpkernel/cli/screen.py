"""`Screen`: how wide the output of a command may be, and whether it has colors."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["PLAIN", "Screen", "Style", "can_be_redrawn", "screen"]

Style: TypeAlias = Literal["", "head", "good", "attention", "bad", "quiet"]

_CODES: dict[Style, str] = {
    "head": "1",
    "good": "32",
    "attention": "33",
    "bad": "31",
    "quiet": "2",
}


class Screen(NamedTuple):
    """The screen for which lines are made.

    Attributes:
        width: how many columns a line may take; None: as many as it has.
        has_color: whether it shows colors.
    """

    width: int | None = None
    has_color: bool = False

    def paint(self, text: str, style: Style) -> str:
        """The text in a style, where there are colors."""
        if not self.has_color or not style or not text:
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"

    def without(self, columns: int) -> Screen:
        """The same screen, narrower by so many columns."""
        return self if self.width is None else self._replace(width=max(1, self.width - columns))


PLAIN = Screen()
"""For a file, or another program."""


def screen() -> Screen:
    """The screen of standard output. A terminal has colors unless `NO_COLOR` is set
    (no-color.org)."""
    if not sys.stdout.isatty():
        return PLAIN
    has_color = can_be_redrawn() and not os.environ.get("NO_COLOR")
    return Screen(shutil.get_terminal_size().columns, has_color)


def can_be_redrawn() -> bool:
    """Whether standard output is a terminal that obeys what moves its cursor: in the shell of an
    editor it is often one that does not."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
