"""Threads that stand where a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["thread_in"]


@contextmanager
def thread_in(body: Callable[[threading.Event], None]) -> Iterator[int]:
    """A thread that runs `body`, by its ident. `body` is given an event, which is set at the end of
    the `with` block; then the thread has to end."""
    go_on = threading.Event()
    thread = threading.Thread(target=body, args=(go_on,))
    thread.start()
    assert thread.ident is not None
    try:
        yield thread.ident
    finally:
        go_on.set()
        thread.join()
