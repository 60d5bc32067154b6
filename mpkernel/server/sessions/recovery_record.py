"""`RecoveryRecord`: what is remembered of a session's recoveries, for the plan after a death."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RecoveryRecord"]


class RecoveryRecord:
    """What recovery knows of a session. On the loop's thread.

    Attributes:
        strikes: how often it has ended its process.
        settled_after: how many commands its kernel does until it is where it was.
        is_rebuilding: whether it has not done these yet.
        is_alone: whether it was brought back alone, as a suspect.
        suspended_at: when it lost its last process; `time.monotonic()`.
        on_trial_over: called once, when the session has done them, is over, or has lost its
            process.
    """

    def __init__(self) -> None:
        self.strikes = 0
        self.settled_after = 0
        self.is_rebuilding = False
        self.is_alone = False
        self.suspended_at = float("-inf")
        self.on_trial_over: Callable[[], None] | None = None

    def rebuilding(self, commands: int, *, alone: bool) -> None:
        """It is brought back, with so many commands."""
        self.settled_after = commands
        self.is_rebuilding = True
        self.is_alone = alone

    def settle(self) -> None:
        """The session is where it was."""
        self.is_rebuilding = self.is_alone = False
        self.end_trial()

    def end_trial(self) -> None:
        """Nobody needs to wait for the session any more: it is settled, over, or without a
        process."""
        call, self.on_trial_over = self.on_trial_over, None
        if call is not None:
            call()
