"""`CommandProgress`: how far a session's kernel has come with its commands, as it says itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpkernel.errors import ProtocolError

__all__ = ["CommandProgress"]


class CommandProgress:
    """The progress of one kernel.

    Args:
        session_id: the session's name, for errors.
        clock: seconds, as `time.monotonic`, which is the default.

    Attributes:
        done: how many commands it has done.
        running_since: when it began the command that it runs; None if it runs none.
    """

    def __init__(self, session_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._session_id = session_id
        self._clock = clock
        self._begun = 0
        self.done = 0
        self.running_since: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether it runs a command."""
        return self._begun > self.done

    def check(self, begun: int, done: int) -> None:
        """Check what a kernel says.

        Raises:
            ProtocolError: these numbers are impossible.
        """
        if not self.done <= done <= begun:
            raise ProtocolError(
                f"a kernel has begun {begun} commands and done {done}, after {self.done}"
                f" session={self._session_id}"
            )

    def advance(self, begun: int, done: int) -> None:
        """The kernel has begun and done so many commands."""
        if begun == done:
            self.running_since = None
        elif begun != self._begun:
            self.running_since = self._clock()
        self._begun, self.done = begun, done
