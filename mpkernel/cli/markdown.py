"""A page in Markdown for a terminal: unchanged, except that its tables fit the terminal's width."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence

__all__ = ["in_columns"]

_GAP = "  "
_LEAST_CHARACTERS = 10
_RULE = re.compile(r"\|[ :|-]+\|")
"""The line between a table's head and its rows."""


def in_columns(page: str, width: int) -> str:
    """The page with each table set in columns. Cells are wrapped, the widest columns first.

    Args:
        page: text in Markdown, whose tables have a `|` at both ends of each line.
        width: how many characters a line may have.
    """
    lines: list[str] = []
    for is_table, group in itertools.groupby(page.splitlines(), key=_is_row):
        block = list(group)
        lines += _set_table(block, width) if is_table else block
    return "\n".join(lines) + "\n"


def _is_row(line: str) -> bool:
    return len(line) > 1 and line.startswith("|") and line.endswith("|")


def _set_table(lines: Sequence[str], width: int) -> Iterator[str]:
    rows = [
        None if _RULE.fullmatch(line) else [cell.strip() for cell in line[1:-1].split("|")]
        for line in lines
    ]
    columns = zip(*filter(None, rows), strict=True)
    widths = _fitting([max(map(len, column)) for column in columns], width)
    for row in rows:
        if row is None:
            yield _GAP.join("-" * one for one in widths)
            continue
        cells = [
            textwrap.wrap(cell, one, break_on_hyphens=False)
            for cell, one in zip(row, widths, strict=True)
        ]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(one) for part, one in zip(parts, widths, strict=True))
            yield _GAP.join(padded).rstrip()


def _fitting(widths: list[int], width: int) -> list[int]:
    """Widths of columns that fit side by side: the widest are narrowed."""
    room = width - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _LEAST_CHARACTERS:
        widths[widths.index(max(widths))] -= 1
    return widths
