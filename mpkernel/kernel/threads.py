"""`Thread`: a thread that knows when the cell that made it wants no more of it.

That it prints and shows at its cell needs nothing here: every thread that a cell starts inherits
the cell's console, and with it the place (see `context`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from mpkernel.kernel.context import current_place

__all__ = ["Thread", "current_thread"]


class Thread(threading.Thread):
    """A `threading.Thread` with `should_exit`. What it prints and shows goes to the cell that
    started it, after that cell's end too. The arguments are those of `threading.Thread`.

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
        works for long looks here, and returns."""
        return self._over.is_set()


def current_thread() -> Thread:
    """The calling thread, where a thread's target can ask for `should_exit`.

    Raises:
        RuntimeError: it is none of the kernel's `Thread`.
    """
    thread = threading.current_thread()
    if not isinstance(thread, Thread):
        raise RuntimeError(
            f"thread {thread.name!r} is no mpkernel Thread but a {type(thread).__name__}"
            " (call current_thread() in the target of a mpkernel.kernel.threads.Thread)"
        )
    return thread
