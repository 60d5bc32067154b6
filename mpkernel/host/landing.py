"""Where an asynchronous exception would land in a thread, asked before it is sent.

Who asks holds the GIL, and the thread stands still where it gave the GIL up. The interpreter raises
right there (it looks for exceptions after it has taken the GIL back), or when the C call returns
that the thread is in. Sent at once, before a thread is made to give up the GIL, the exception lands
where the answer says.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import CodeType
from typing import Any

__all__ = ["is_ending", "would_tear"]

_CRITICAL: frozenset[CodeType] = frozenset(
    function.__code__
    for function in (
        threading.Condition.__enter__,
        threading.Condition.__exit__,
        logging.Handler.acquire,
        logging.Handler.release,
    )
)
"""What takes or gives up a lock in a step of Python of its own: an exception there would leave it
held, and every session waiting for it."""

_IMPORTER = "<frozen importlib._bootstrap>"


def would_tear(thread: int) -> bool:
    """Whether an exception would now land where it leaves a lock of the whole process held."""
    frame = sys._current_frames().get(thread)
    return frame is not None and (
        frame.f_code in _CRITICAL or frame.f_code.co_filename == _IMPORTER
    )


def is_ending(thread: int) -> bool:
    """Whether code that was interrupted, or cancelled, is on its way out: in an `except` or
    `finally` block, or in an `__exit__`."""
    current: Any = sys._current_exceptions().get(thread)
    error: BaseException | None = current[1] if isinstance(current, tuple) else current
    while error is not None:
        if isinstance(error, _ends()):
            return True
        error = error.__context__
    return False


def _ends() -> tuple[type[BaseException], ...]:
    asyncio = sys.modules.get("asyncio.exceptions")  # a host must not pay for it
    return (KeyboardInterrupt,) if asyncio is None else (KeyboardInterrupt, asyncio.CancelledError)
