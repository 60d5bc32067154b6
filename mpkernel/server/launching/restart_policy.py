"""`RestartPolicy`: when a process may be started again after deaths.

It only decides: its caller gives it the events and their times, and starts the processes.
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
        self._losses = 0
        self._lost_at = float("-inf")
        self._not_on_cluster_before = float("-inf")
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
        while self._deaths and self._deaths[0] <= now - settings.restart_window_s:
            self._deaths.popleft()
        self._deaths.append(now)
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

    def lost(self, now: float) -> None:
        """No worker of the cluster could run a process, or one was lost with its worker. That is no
        death: however often it happens, the app has not failed. It is started again at once, and
        then ever later, until nothing was lost for `restart_window_s`.

        Args:
            now: seconds of a monotonic clock.
        """
        if self._lost_at <= now - self._settings.restart_window_s:
            self._losses = 0
        wait_s = self._backoff_s(self._losses) if self._losses else 0.0
        self._losses += 1
        self._lost_at, self._not_on_cluster_before = now, now + wait_s

    def ask_cluster_again(self) -> None:
        """A new session asks for the app: try the cluster again at once, which may have a worker by
        now."""
        self._not_on_cluster_before = float("-inf")

    def launched(self) -> None:
        """A process was launched."""
        self._refusals = 0

    def wait_s(self, now: float) -> float:
        """How long until a process may be started; 0.0 for now."""
        left = max(0.0, self._not_before - now)
        if not left:
            self.failed = False
        return max(left, self._not_on_cluster_before - now)

    def is_calm(self, now: float) -> bool:
        """Whether no earlier event has an effect any more: a new policy would decide the same."""
        long_ago = now - self._settings.restart_window_s
        has_died = bool(self._deaths) and self._deaths[-1] > long_ago
        was_lost = self._lost_at > long_ago
        return not (has_died or was_lost or self._refusals or self.wait_s(now))

    def _backoff_s(self, times: int) -> float:
        settings = self._settings
        # Larger powers would overflow a float. The longest wait is reached long before.
        longest = settings.restart_backoff_s * 2.0 ** min(times - 1, 100)
        return min(longest, settings.restart_backoff_max_s) * (0.5 + 0.5 * self._jitter())
