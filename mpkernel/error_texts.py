"""What is said of an exception of user code, whatever that code has made of it.

Python looks for the source of a traceback through the loader of its module, and asks the exception
for its text, its cause and its notes, and its class for its name. Each of these may be the user's,
and fail itself. The failure is still told then.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import TracebackType

__all__ = ["class_of", "frames_of", "message_of", "name_of", "traceback_by"]

_frames_of = BaseException.__dict__["__traceback__"].__get__
_name_of = type.__dict__["__qualname__"].__get__
_short_name_of = type.__dict__["__name__"].__get__


def traceback_by(
    formatted: Callable[[], str], error: BaseException, frames: TracebackType | None
) -> str:
    """What `formatted` returns. If it fails, the exception and where it was, without the source.

    Args:
        formatted: gives the traceback as Python writes it.
        error: the exception.
        frames: its frames.
    """
    try:
        return formatted()
    except BaseException as failure:  # noqa: BLE001 (the user's; both are told)
        lines = ["Traceback (most recent call last):\n"]
        for frame, number in traceback.walk_tb(frames):
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}\n')
        lines.append(f"{_told(error)}\n(the source is not shown: {_told(failure)})\n")
        return "".join(lines)


def message_of(error: BaseException) -> str:
    """The exception's text; or, if it cannot be had, why."""
    try:
        return str(error)
    except BaseException as failure:  # noqa: BLE001 (a broken __str__ of the user's)
        return f"<unprintable {name_of(error)}: {name_of(failure)}>"


def name_of(error: BaseException) -> str:
    """The name of the exception's class. No metaclass of the user's is asked for it."""
    return str(_name_of(type(error)))


def class_of(value: object) -> str:
    """The short name of any value's class. No metaclass of the user's is asked for it."""
    return str(_short_name_of(type(value)))


def frames_of(error: BaseException) -> TracebackType | None:
    """The exception's traceback. No property of the user's is asked for it."""
    frames: TracebackType | None = _frames_of(error)
    return frames


def _told(error: BaseException) -> str:
    return f"{name_of(error)}: {message_of(error)}"
