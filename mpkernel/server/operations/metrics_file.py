"""`MetricsFile`: writes metrics to a file that a node exporter's textfile collector reads.

The node exporter may run as another user. So every user may read the file, whatever the umask is;
the permissions of its folder say who can reach it. The file is always replaced as a whole, and
removed when the server ends. A server that was killed leaves it behind: then the time of writing,
which stands in the file, shows its age.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mpkernel.private_files import remove_leftovers, write_public
from mpkernel.server.operations.metrics import ServerFacts, metrics_of
from mpkernel.server.operations.snapshot import PoolSnapshot
from mpkernel.version import __version__

__all__ = ["MetricsFile"]

logger = logging.getLogger(__name__)

_INTERVALS_OF_THE_DEAD = 3
_SLACK_S = 0.1
"""A timer may fire a little early, by the resolution of its clock."""


class MetricsFile:
    """The file of one server. If two servers are given the same file, the one that started last
    writes it. The other waits until the file is removed, or has not been written for three
    intervals. `write` and `remove` may be called from any thread.

    Args:
        path: the file.
        interval_s: how much time is between two writes, at least.
        clock: seconds, as `time.monotonic`, which is the default.
    """

    def __init__(
        self, path: Path, interval_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()  # guards all below, and the file
        self._is_removed = False
        self._due_at = float("-inf")
        self._own: tuple[int, int] | None = None
        self._trouble = ""

    def write(self, pool: PoolSnapshot) -> None:
        """Write the file, if it is due. If that fails, it is logged once, and tried again later."""
        with self._lock:
            now = self._clock()
            if self._is_removed or now < self._due_at - _SLACK_S:
                return
            try:
                if self._own is None:
                    self._clean_up()
                elif self._is_anothers():
                    self._warn("another server writes it (give each its own)")
                    return
                write_public(self._path, metrics_of(pool, self._facts()).encode())
                self._own = _identity(self._path)
            except (OSError, psutil.Error) as error:
                reason = getattr(error, "strerror", None) or error
                self._warn(f"{reason} (its folder must be there, and this user's to write)")
                return
            finally:
                self._due_at = now + self._interval_s
            if self._trouble:
                logger.warning("metrics are written again file=%s", self._path)
            self._trouble = ""

    def remove(self) -> None:
        """Remove the file, if this server has written it, and write no more. Idempotent."""
        with self._lock:
            self._is_removed = True
            if self._own is None:
                return
            try:
                if _identity(self._path) == self._own:
                    self._path.unlink()
            except FileNotFoundError:
                return
            except OSError as error:
                logger.warning("metrics could not be removed: %s", error)
            finally:
                self._own = None

    def _clean_up(self) -> None:
        try:
            remove_leftovers(self._path.parent)
        except OSError as error:  # it may be another user's
            logger.debug("what dead servers left beside the metrics cannot be removed: %s", error)

    def _is_anothers(self) -> bool:
        """Whether another server has written the file, and seems to live."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        is_own = (found.st_ino, found.st_mtime_ns) == self._own
        age_s = abs(time.time() - found.st_mtime)  # the calendar may have been set back
        return not is_own and age_s < _INTERVALS_OF_THE_DEAD * self._interval_s

    def _warn(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning(
                "metrics cannot be written for now: %s; tried again every %g s file=%s",
                trouble,
                self._interval_s,
                self._path,
            )
        self._trouble = trouble

    def _facts(self) -> ServerFacts:
        process = psutil.Process()
        return ServerFacts(
            name=self._path.name.removesuffix(".prom"),
            pid=os.getpid(),
            version=__version__,
            python=".".join(map(str, sys.version_info[:3])),
            created_at=process.create_time(),
            rss_bytes=process.memory_info().rss,
        )


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns
