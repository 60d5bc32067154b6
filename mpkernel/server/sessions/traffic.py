"""`SessionTraffic`: what is under way in a session, for operators and for its client."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SessionTraffic"]


class SessionTraffic(NamedTuple):
    """What is under way in a session.

    Attributes:
        done: commands that its kernel has done, since its process started.
        running: what it runs, as far as its journal knows; "" for nothing, or nobody knows.
        outstanding_bytes: sent, and not yet taken by the kernel: so much of the window is used.
        waiting_bytes: kept in the server until the window has room.
    """

    done: int
    running: str
    outstanding_bytes: int
    waiting_bytes: int
