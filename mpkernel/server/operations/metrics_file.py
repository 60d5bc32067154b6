"""`MetricsFile`: metrics where a node exporter's textfile collector reads them.

It is another user's program, so everybody may read the file, whatever the umask is; its folder says
who may enter. It is replaced as a whole, and gone with the server. One that was killed leaves it
behind: what it says of when it was written grows old.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
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
"""A timer may be early by the resolution of its clock."""


class MetricsFile:
    """One server's own: of two that are given the same, the one that began last keeps it, and the
    other waits until it is gone, or has not been written for three intervals. `write` and `remove`
    from any thread.

    Args:
        path: where.
        interval_s: how often it is written, at the most.
    """

    def __init__(self, path: Path, interval_s: float) -> None:
        self._path = path
        self._interval_s = interval_s
        self._lock = threading.Lock()  # guards all below, and the file
        self._is_removed = False
        self._due_at = float("-inf")
        self._own: tuple[int, int] | None = None
        self._trouble = ""

    def write(self, pool: PoolSnapshot) -> None:
        """Write it, if it is time. What stands in the way is warned of once, and tried again."""
        with self._lock:
            now = time.monotonic()
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
        """Remove it, if it is this server's; nothing is written any more. Idempotent."""
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
            logger.debug("what dead servers left beside metrics stays: %s", error)

    def _is_anothers(self) -> bool:
        """Whether somebody else has written it, and may do so again."""
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
