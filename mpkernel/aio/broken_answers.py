"""`BrokenAnswer`: ends an ASGI answer half-way, and leaves no traceback in the server's log.

An application that cannot send the rest of an answer raises something. The server then closes the
connection, so the client sees that it did not get all of it. But servers log what an application
raises, with its traceback, as if the program were wrong. Whoever raises `BrokenAnswer` has logged
the reason, and `leave_out_broken_answers` has uvicorn, hypercorn and granian log nothing more.

Starlette's `BaseHTTPMiddleware` (`@app.middleware("http")`) ends such an answer as if it were
whole. The server then finds that it is too short, closes the connection, and logs that instead:
this is left out, too.
"""

from __future__ import annotations

import logging
import time

__all__ = ["BrokenAnswer", "leave_out_broken_answers"]

_LOGGERS = ("uvicorn.error", "hypercorn.error", "_granian")
"""Where servers log what an application raises: uvicorn (gunicorn's workers of it, too), hypercorn,
granian."""

_TOO_SHORT = (
    "Response content shorter than Content-Length",
    "Too little data for declared Content-Length",
)
"""What uvicorn, and the package h11, say of an answer that is too short."""

_TOO_SHORT_WITHIN_S = 5.0
_last_at = float("-inf")


class BrokenAnswer(Exception):
    """The rest of an answer cannot be sent. The reason was logged."""

    def __init__(self, reason: str) -> None:
        global _last_at
        super().__init__(reason)
        _last_at = time.monotonic()


def leave_out_broken_answers() -> None:
    """Have servers of this process not log a `BrokenAnswer`. Idempotent."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.addFilter(_is_something_else)
        for handler in logger.handlers:  # they have the records of loggers below this one, too
            handler.addFilter(_is_something_else)


def _is_something_else(record: logging.LogRecord) -> bool:
    if record.exc_info and _is_of_broken_answer(record.exc_info[1]):
        return False
    return _IN_TRACEBACK not in record.getMessage()


def _is_of_broken_answer(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_of_broken_answer, error.exceptions))
    if str(error) in _TOO_SHORT:
        return time.monotonic() < _last_at + _TOO_SHORT_WITHIN_S
    return isinstance(error, BrokenAnswer)


_IN_TRACEBACK = f"\n{BrokenAnswer.__name__}: "
"""How the last line of a traceback begins that granian has written into its message."""
