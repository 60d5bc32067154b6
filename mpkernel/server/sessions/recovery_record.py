"""`RecoveryRecord`: what is remembered of a session's recoveries; the recovery plan uses it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RecoveryRecord"]

_MOST_STARTS = 60


class RecoveryRecord:
    """What is remembered of the recoveries of one session. On the loop's thread.

    Attributes:
        has_run: whether its kernel has run, on whichever process.
        was_stored: whether it began with the values that an earlier session had stored.
        failed_starts: how often, one after the other, a process has failed to start its kernel.
        strikes: how often the session has ended its process.
        settled_after: how many commands its kernel must do until it has its former state.
        is_rebuilding: whether these commands are not all done yet.
        has_begun_rebuild: whether its kernel has begun the first of them.
        is_alone: whether the session was brought back alone, because it may have ended its process.
        is_unproven: whether it may end its process for all that is known: what it ran was cut off
            when its process ended for another reason, and it has not run to its end since.
        suspended_at: when it lost its last process; `time.monotonic()`.
        on_rebuild_over: called once, when these commands are done, or the session is over, or has
            lost its process.
    """

    def __init__(self) -> None:
        self.has_run = False
        self.was_stored = False
        self.failed_starts = 0
        self.strikes = 0
        self.settled_after = 0
        self.is_rebuilding = False
        self.has_begun_rebuild = False
        self.is_alone = False
        self.is_unproven = False
        self.suspended_at = float("-inf")
        self.on_rebuild_over: Callable[[], None] | None = None

    @property
    def has_values(self) -> bool:
        """Whether the session may have values that the next process, or server, must bring back."""
        return self.has_run or self.was_stored

    def start_failed(self) -> bool:
        """A process has failed to start the session's kernel. Returns whether to try it again: the
        session has values to bring back, and was not tried 60 times already."""
        self.failed_starts += 1
        return self.has_values and self.failed_starts <= _MOST_STARTS

    def rebuilding(self, commands: int, *, alone: bool) -> None:
        """The session is being brought back, with this number of commands."""
        self.settled_after = commands
        self.has_begun_rebuild = False
        self.is_rebuilding = True
        self.is_alone = alone

    @property
    def is_innocent(self) -> bool:
        """Whether the session cannot be the cause if its kernel fails now: the kernel has not begun
        to bring it back. Its app cannot be imported, for example."""
        return self.is_rebuilding and not self.has_begun_rebuild

    def progressed(self, begun: int, done: int) -> None:
        """The kernel has begun and done so many commands."""
        self.has_begun_rebuild = begun > 0
        if done >= self.settled_after:
            self.settle()

    def settle(self) -> None:
        """The session has its former state."""
        self.is_rebuilding = self.is_alone = self.is_unproven = False
        self.end_rebuild()

    def end_rebuild(self) -> None:
        """Nobody needs to wait for the session any more: it is settled, over, or without a
        process."""
        call, self.on_rebuild_over = self.on_rebuild_over, None
        if call is not None:
            call()
