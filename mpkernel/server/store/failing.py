"""`Failing`: whether the disk of a store fails, and when the store tries it again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from mpkernel.logs import get_logger
from mpkernel.reaching import in_words

__all__ = ["Failing"]

logger = get_logger(__name__)

_RETRY_AFTER_S = 30.0


class Failing:
    """What a store knows of its disk. From any thread.

    Args:
        directory: that of the store, for the log.

    Attributes:
        retry_at: when to try the disk again, by `time.monotonic()`; in the past if it works.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards all below
        self._is_known = False
        self.retry_at = 0.0

    @property
    def is_pausing(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self.retry_at

    def failed(self, error: OSError) -> None:
        """The disk could not be used. The log says so when this follows a success."""
        with self._lock:
            self.retry_at = time.monotonic() + _RETRY_AFTER_S
            was_known, self._is_known = self._is_known, True
        if not was_known:
            logger.warning(
                "sessions are not stored for now, and would not come back after the end of this"
                " server: %s directory=%s",
                in_words(error),
                self._directory,
            )

    def retry_now(self) -> None:
        """Let the store try the disk at once."""
        with self._lock:
            self.retry_at = 0.0

    def worked(self) -> None:
        """The disk could be used."""
        if not self._is_known:
            return
        with self._lock:
            self._is_known = False
        logger.info("sessions are stored again directory=%s", self._directory)
