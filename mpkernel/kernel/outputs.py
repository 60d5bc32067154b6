"""What user code calls to change what its cell shows. The values are kept in an `output_list`."""

from __future__ import annotations

from mpkernel.kernel.context import current_place
from mpkernel.kernel.shown.output_list import CellOutputList

__all__ = ["append", "clear", "remove", "replace", "replace_at_index"]


def append(value: object) -> None:
    """Show a value under what the running cell shows already.

    Raises:
        RuntimeError: this is no session's thread.
    """
    _outputs("append").append(value)


def replace(value: object) -> None:
    """Show a value instead of all that the running cell shows.

    Raises:
        RuntimeError: this is no session's thread.
    """
    _outputs("replace").replace(value)


def replace_at_index(value: object, index: int) -> None:
    """Show a value instead of the one at `index`. See `CellOutputList.replace_at`.

    Raises:
        IndexError: the cell shows fewer.
        RuntimeError: this is no session's thread.
    """
    _outputs("replace_at_index").replace_at(value, index)


def clear() -> None:
    """Show nothing any more in the running cell.

    Raises:
        RuntimeError: this is no session's thread.
    """
    _outputs("clear").clear()


def remove(value: object) -> None:
    """Stop showing a value in the running cell. See `CellOutputList.remove`.

    Raises:
        RuntimeError: this is no session's thread.
    """
    _outputs("remove").remove(value)


def _outputs(asked: str) -> CellOutputList:
    place = current_place()
    if place is None:
        raise RuntimeError(
            f"{asked}() was called outside of a session, where no cell shows anything"
            " (run the code in a session's cell, or use print)"
        )
    return place.outputs
