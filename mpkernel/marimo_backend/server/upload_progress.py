"""Tells a page how much of its upload has arrived.

marimo's page shows a file as uploaded as soon as it begins to send it, and nothing until the last
byte is there. So the page of an upload that takes longer than a second gets a banner.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from mpkernel.amounts import memory

__all__ = ["telling_of_progress"]

Receive = Callable[[], Awaitable[Any]]

_PAUSE_S = 1.0


def telling_of_progress(
    scope: Any,
    receive: Receive,
    tell: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Receive:
    """An ASGI `receive` that says at most once a second how much of the request's body has come.

    Args:
        scope, receive: those of a request.
        tell: called with a sentence; with "" when there is nothing more to come, if it was called
            before.
        clock: seconds, as `time.monotonic`, which is the default.
    """
    length = dict(scope["headers"]).get(b"content-length", b"")
    whole = f" of {_size(int(length))}" if length.isdigit() else ""
    told_at, has_told, came = clock(), False, 0

    async def receive_and_tell() -> Any:
        nonlocal told_at, has_told, came
        message = await receive()
        came += len(message.get("body", b""))
        if not message.get("more_body"):  # the last part, or the page has gone
            if has_told:
                tell("")
            has_told = False
        elif (now := clock()) - told_at >= _PAUSE_S:
            told_at, has_told = now, True
            tell(f"{_size(came)}{whole} have arrived.")
        return message

    return receive_and_tell


def _size(length: int) -> str:
    """The size of files whose base64 has this length."""
    return memory(length * 3 // 4)
