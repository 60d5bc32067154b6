"""`no_garbage_collection`: for the time of large imports.

Imports make many objects and hardly any garbage; Python looks for it again and again, which takes a
tenth of their time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_garbage_collection"]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Have Python look for no garbage, on any thread, unless it did not do so before either. No
    user code should run meanwhile: it may set this, too."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
