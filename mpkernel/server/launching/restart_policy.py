"""`RestartPolicy`: when a process may be started again after deaths.

It decides only from what it is told, and has no process, no clock and no loop of its own.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from mpkernel.settings import Settings

__all__ = ["RestartPolicy"]


class RestartPolicy:
    """When an app's process may be started after deaths: at once after the first, after a growing
    wait after each further one, and after too many deaths not before a cool-down is over.

    Args:
        settings: `restart_limit`, `restart_window_s`, `restart_backoff_s`,
            `restart_backoff_max_s`, `restart_cool_down_s`.
        jitter: gives a number from 0 to 1, so that apps that died together do not start together.
    """

    def __init__(self, settings: Settings, jitter: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._jitter = jitter
        self._deaths: deque[float] = deque()
        self._not_before = float("-inf")
        self._refusals = 0
        self.failed = False

    @property
    def is_refused(self) -> bool:
        """Whether the system refused to start the last process that was asked for."""
        return self._refusals > 0

    def died(self, now: float) -> None:
        """A process died.

        Args:
            now: seconds of a monotonic clock.
        """
        settings = self._settings
        self._deaths.append(now)
        while self._deaths[0] <= now - settings.restart_window_s:
            self._deaths.popleft()
        if len(self._deaths) > settings.restart_limit:
            self.failed = True
            self._deaths.clear()
            self._not_before = now + settings.restart_cool_down_s
            return
        earlier = len(self._deaths) - 1
        self._not_before = now + self._backoff_s(earlier) if earlier else now

    def refused(self, now: float) -> None:
        """The system refused to start a process. That is not a death: however often it happens, the
        app has not failed, and is started as soon as the system allows it.

        Args:
            now: seconds of a monotonic clock.
        """
        self._refusals += 1
        self._not_before = now + self._backoff_s(self._refusals)

    def launched(self) -> None:
        """A process was launched."""
        self._refusals = 0

    def wait_s(self, now: float) -> float:
        """How long until a process may be started; 0.0 for now."""
        left = max(0.0, self._not_before - now)
        if not left:
            self.failed = False
        return left

    def is_calm(self, now: float) -> bool:
        """Whether nothing that happened matters any more: a new policy would decide the same."""
        has_died = bool(self._deaths) and self._deaths[-1] > now - self._settings.restart_window_s
        return not (has_died or self._refusals or self.wait_s(now))

    def _backoff_s(self, times: int) -> float:
        settings = self._settings
        # A float cannot hold much larger powers, and the longest wait is reached long before.
        longest = settings.restart_backoff_s * 2.0 ** min(times - 1, 100)
        return min(longest, settings.restart_backoff_max_s) * (0.5 + 0.5 * self._jitter())
