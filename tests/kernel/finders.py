"""Says for a test in which place of a cell its own code runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mpkernel.kernel import context

__all__ = ["found_by"]


@contextlib.contextmanager
def found_by(finder: Callable[[], context.Place | None]) -> Iterator[None]:
    """Let `context.current_place` ask `finder` for as long as the `with` lasts."""
    before = context._finder
    context.set_finder(finder)
    try:
        yield
    finally:
        context.set_finder(before)
