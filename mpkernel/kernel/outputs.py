"""Functions by which user code changes what its cell shows. `output_list` keeps the values."""

from __future__ import annotations

from mpkernel.kernel.context import current_place
from mpkernel.kernel.shown.output_list import CellOutputList

__all__ = ["append", "clear", "remove", "replace", "replace_at_index"]


def append(value: object) -> None:
    """Show a value below those that the running cell already shows.

    Raises:
        RuntimeError: the calling thread belongs to no session.
    """
    _outputs("append").append(value)


def replace(value: object) -> None:
    """Show a value instead of all that the running cell shows now.

    Raises:
        RuntimeError: the calling thread belongs to no session.
    """
    _outputs("replace").replace(value)


def replace_at_index(value: object, index: int) -> None:
    """Show a value instead of the one at `index`. See `CellOutputList.replace_at`.

    Raises:
        IndexError: the cell shows fewer values.
        RuntimeError: the calling thread belongs to no session.
    """
    _outputs("replace_at_index").replace_at(value, index)


def clear() -> None:
    """Remove all that the running cell shows.

    Raises:
        RuntimeError: the calling thread belongs to no session.
    """
    _outputs("clear").clear()


def remove(value: object) -> None:
    """Stop showing a value in the running cell. See `CellOutputList.remove`.

    Raises:
        RuntimeError: the calling thread belongs to no session.
    """
    _outputs("remove").remove(value)


def _outputs(asked: str) -> CellOutputList:
    place = current_place()
    if place is None:
        raise RuntimeError(
            f"{asked}() was called outside of a session, where there is no cell to show a value"
            " (run the code in a cell of a session, or use print)"
        )
    return place.outputs
