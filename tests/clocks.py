"""A clock for tests of what depends on time."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """A clock that stands still until a test sets it.

    Attributes:
        now_s: what it shows, in seconds.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
