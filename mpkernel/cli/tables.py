"""Text for a terminal: columns, and lines as wide as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

from mpkernel.cli.screen import PLAIN, Screen, Style
from mpkernel.plain_text import plain
from mpkernel.text_width import beginning
from mpkernel.text_width import width as width_of

__all__ = ["Cell", "columns", "cut", "heads", "wrapped"]

_GAP = "  "
_LEAST_CHARACTERS = 10
_CUT = "…"


class Cell(NamedTuple):
    """A text of a table that has a style."""

    text: str
    style: Style


_Cell: TypeAlias = str | Cell


def columns(
    rows: Sequence[Sequence[_Cell]],
    *,
    right: Collection[int] = (),
    flexible: Collection[int] = (),
    omit: Sequence[int] = (),
    screen: Screen = PLAIN,
) -> list[str]:
    """Rows as lines, each column as wide as its widest text, and all of them as the screen allows.

    Args:
        rows: of as many cells each. Control characters in them are shown, not carried out.
        right: which columns are set to the right.
        flexible: which columns may be made narrower, the widest first; their texts are cut.
        omit: which columns are left out where narrower columns are not enough, in this order.
        screen: what the lines are for.
    """
    cells = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(width_of(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    kept = dict(enumerate(widths))
    if screen.width is not None:
        _fit(kept, screen.width, flexible, omit)
    return [
        _GAP.join(
            _set(row[number], width, screen, is_right=number in right, is_last=number == max(kept))
            for number, width in kept.items()
        ).rstrip()
        for row in cells
    ]


def _plain(cell: _Cell) -> Cell:
    """The text without control characters: apps and other users may have written it."""
    if isinstance(cell, Cell):
        return cell._replace(text=plain(cell.text))
    return Cell(plain(cell), "")


def heads(*names: str) -> tuple[Cell, ...]:
    """The first row of a table."""
    return tuple(Cell(name, "head") for name in names)


def wrapped(text: str, screen: Screen, *, indent: str = "", first: str | None = None) -> list[str]:
    """A text as lines that are not wider than the screen.

    Args:
        text: is broken at blanks; a word that is wider than the screen is cut.
        screen: what the lines are for.
        indent: what stands before each line.
        first: what stands before the first one instead.
    """
    line, begin = indent if first is None else first, True
    if screen.width is None:
        return [line + text]
    lines = []
    for word in text.split(" "):
        longer = line + word if begin else f"{line} {word}"
        if not begin and width_of(longer) > screen.width:
            lines.append(line)
            longer = indent + word
        line, begin = cut(longer, screen.width), False
    return [*lines, line]


def cut(text: str, width: int) -> str:
    """The beginning of a text, where all of it is wider than this."""
    if width_of(text) <= width:
        return text
    return beginning(text, width - 1) + _CUT


def _fit(kept: dict[int, int], room: int, flexible: Collection[int], omit: Sequence[int]) -> None:
    """Narrow columns, and leave some out, until the rest has room.

    Args:
        kept: the width of each column, which is changed.
        room, flexible, omit: as for `columns`.
    """

    def taken(least: int | None = None) -> int:
        widths = (
            width if least is None or number not in flexible else min(width, least)
            for number, width in kept.items()
        )
        return sum(widths) + len(_GAP) * (len(kept) - 1)

    for number in omit:
        if taken(_LEAST_CHARACTERS) <= room:
            break
        kept.pop(number, None)
    while taken() > room:
        wide = [one for one in kept if one in flexible and kept[one] > _LEAST_CHARACTERS]
        if not wide:
            break
        kept[max(wide, key=kept.__getitem__)] -= 1
    while taken() > room and len(kept) > 1:
        kept.popitem()
    if taken() > room:
        kept[next(iter(kept))] = max(1, room)


def _set(cell: Cell, width: int, screen: Screen, *, is_right: bool, is_last: bool) -> str:
    """A cell in its column; in color where the screen has colors."""
    text = cut(cell.text, width)
    blanks = " " * (width - width_of(text))
    painted = screen.paint(text, cell.style)
    if is_right:
        return blanks + painted
    return painted if is_last else painted + blanks
