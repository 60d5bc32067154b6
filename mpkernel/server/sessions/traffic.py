"""`SessionTraffic`: commands and bytes that are under way in a session."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SessionTraffic"]


class SessionTraffic(NamedTuple):
    """The commands and bytes that are under way in a session.

    Attributes:
        done: how many commands its kernel has done since its process started.
        running: what its kernel runs, as far as the journal knows; "" if it runs nothing, or if
            that is unknown.
        outstanding_bytes: the bytes that were sent and that the kernel has not yet taken. They use
            up the window.
        waiting_bytes: the bytes that the server keeps until the window has room.
    """

    done: int
    running: str
    outstanding_bytes: int
    waiting_bytes: int
