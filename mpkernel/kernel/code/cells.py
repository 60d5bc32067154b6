"""An app's file as cells, and which cells must run again when a name has changed."""

from __future__ import annotations
import __future__

import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mpkernel.kernel.code.names import all_names, names

__all__ = ["Cell", "future_flags", "split", "to_rerun"]

_MARKER = "# %%"
_CONTINUATIONS = frozenset({"elif", "else", "except", "finally"})
_FUTURE_IMPORT = re.compile(r"\bfrom __future__ import ([^;\n]*)")


class Cell(NamedTuple):
    """A piece of an app's file.

    Attributes:
        name: "cell-1", "cell-2", …, by position in the file.
        code: its lines, without the marker line.
        first_line: where `code` begins in the file, from 1.
        title: the text after the marker.
    """

    name: str
    code: str
    first_line: int
    title: str = ""


def split(source: str) -> list[Cell]:
    """The cells of a file: each begins at a line that begins with `# %%`.

    A marker counts between statements only, not within a string, brackets or a block. Cells
    without code are dropped. A file without markers is one cell; so is a file that cannot be split
    into tokens: `compile` will say where its error is.
    """
    lines = io.StringIO(source, newline=None).readlines()
    markers = _marker_lines(lines)
    cells: list[Cell] = []
    for marker, end in zip([0, *markers], [*markers, len(lines) + 1], strict=True):
        code = lines[marker : end - 1]
        if all(line.isspace() or line.lstrip().startswith("#") for line in code):
            continue
        title = lines[marker - 1].removeprefix(_MARKER).strip() if marker else ""
        cells.append(Cell(f"cell-{len(cells) + 1}", "".join(code), marker + 1, title))
    return cells


def future_flags(cells: Iterable[Cell]) -> int:
    """The flags for `compile` that stand for the `from __future__` imports of a file. Such an
    import is valid in all cells of the file."""
    flags = 0
    for cell in cells:
        if "__future__" not in cell.code:
            continue
        text = " ".join(
            token.string
            for token in _tokens(cell.code.splitlines(keepends=True))
            if token.type in {tokenize.NAME, tokenize.OP, tokenize.NEWLINE}
        )
        for features in _FUTURE_IMPORT.findall(text):
            for feature in set(features.split()).intersection(__future__.all_feature_names):
                flags |= getattr(__future__, feature).compiler_flag
    return flags


def to_rerun(cells: Sequence[Cell], changed: Iterable[str]) -> list[Cell]:
    """The cells that read a changed name, and those that read what these define, and so on,
    wherever they are in the file; in file order, each once. After `from … import *` in one of them,
    any name may have changed."""
    names_changed = set(changed)
    others = list(cells)
    while concerned := [cell for cell in others if all_names(cell.code).reads & names_changed]:
        others = [cell for cell in others if cell not in concerned]
        for cell in concerned:
            found = all_names(cell.code)
            names_changed |= found.defines
            if found.defines_unknown:
                names_changed.update(*(names(other.code).reads for other in others))
    return [cell for cell in cells if cell not in others]


def _marker_lines(lines: Sequence[str]) -> list[int]:
    """The lines, counted from 1, where a marker stands between two statements of the file."""
    if not any(line.startswith(_MARKER) for line in lines):
        return []
    found: list[int] = []
    waiting: list[int] = []  # markers, until it is known whether the statement before them goes on
    depth = 0
    between = True
    opening = ""  # the first token of the line that is being read
    for token in _tokens(lines):
        match token.type:
            case tokenize.COMMENT:
                if between and token.start[1] == 0 and token.string.startswith(_MARKER):
                    waiting.append(token.start[0])
            case tokenize.NL:
                pass
            case tokenize.INDENT:
                depth += 1
            case tokenize.DEDENT:
                depth -= 1
            case tokenize.NEWLINE:
                between = opening != "@"
                opening = ""
            case _:
                if not opening:
                    opening = token.string
                    if depth == 0 and opening not in _CONTINUATIONS:
                        found += waiting
                    waiting.clear()
                between = False
    return found


def _tokens(lines: Sequence[str]) -> list[tokenize.TokenInfo]:
    """All tokens; none at all if any part of the lines is not a token."""
    try:
        # Unlike a parser, this never warns: warnings are given when the cell is compiled.
        tokens = list(tokenize.generate_tokens(iter(lines).__next__))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return []
    return [] if any(token.type == tokenize.ERRORTOKEN for token in tokens) else tokens
