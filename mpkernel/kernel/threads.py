"""`Thread`: a thread that can ask whether the cell that made it still needs it.

What it prints and shows appears at its cell, but not because of this class: every thread that a
cell starts inherits the cell's console, and with it the cell (see `context`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from mpkernel.kernel.context import current_place

__all__ = ["Thread", "current_thread"]


class Thread(threading.Thread):
    """A `threading.Thread` with `should_exit`. What it prints and shows goes to the cell that
    started it, even after that cell's end. The arguments are those of `threading.Thread`.

    Outside of a session it is a plain thread that is never asked to exit.
    """

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        place = current_place()
        self._over = place.over if place is not None else threading.Event()

    @property
    def should_exit(self) -> bool:
        """Whether the cell that made the thread runs again, or its session is closed. A thread that
        works for long should ask this often, and return when it is true."""
        return self._over.is_set()


def current_thread() -> Thread:
    """The calling thread, so that a thread's target can ask for `should_exit`.

    Raises:
        RuntimeError: the calling thread is not a `Thread` of this module.
    """
    thread = threading.current_thread()
    if not isinstance(thread, Thread):
        raise RuntimeError(
            f"thread {thread.name!r} is not an mpkernel Thread, but a {type(thread).__name__}"
            " (call current_thread() in the target of an mpkernel.kernel.threads.Thread)"
        )
    return thread
