"""`SameCells`: which cells of a notebook are still the same after it was edited.

The id of an element begins with the id of the cell that makes it, and marimo gives these ids in the
order of the cells: a cell that is put before others changes theirs. So cells are told by their
code. A cell with the same code makes the same elements, in the same order.
"""

from __future__ import annotations

import ast
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from mpkernel.marimo_backend.crossing import LASTING_PREFIX

__all__ = ["SameCells"]

_MOST_NAMES = 5


class SameCells:
    """
    Args:
        before: the code of the cells as they were, by their ids.
        after: the code of the cells as they are now, by their ids, in their order.
    """

    def __init__(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        self._before = before
        ids: dict[str, deque[str]] = defaultdict(deque)
        for cell_id, code in after.items():
            ids[code].append(cell_id)
        self._after = {
            cell_id: ids[code].popleft() for cell_id, code in before.items() if ids[code]
        }

    def new_id(self, object_id: str) -> str | None:
        """The id that an element has now; None if its cell was changed or is gone. The ids of
        elements in an embedded app change when the notebook of that app changes."""
        if object_id.startswith(LASTING_PREFIX):
            return object_id
        cell_id, dash, number = object_id.rpartition("-")
        now = self._after.get(cell_id)
        return f"{now}{dash}{number}" if now is not None else None

    def named(self, object_ids: Iterable[str]) -> str:
        """Names by which the reader may know these elements: those that their cells defined."""
        cells = dict.fromkeys(name.rpartition("-")[0] for name in object_ids)
        names = [name for cell in cells for name in _defined_by(self._before.get(cell, ""))]
        shown = ", ".join(names[:_MOST_NAMES])
        return shown + (" and others" if len(names) > _MOST_NAMES else "")


def _defined_by(code: str) -> list[str]:
    """The public names that a cell assigns."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    stored = (
        node.id
        for statement in body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    return [name for name in dict.fromkeys(stored) if not name.startswith("_")]
