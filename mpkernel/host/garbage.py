"""`no_garbage_collection`: switches the garbage collector off during large imports.

Imports make many objects and hardly any garbage. Python searches for garbage again and again
meanwhile, which takes a tenth of their time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_garbage_collection"]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch the garbage collector off for the whole process in this `with`. If it was off before,
    it stays off afterwards. No user code should run meanwhile, because it may switch it, too."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
