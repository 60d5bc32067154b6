"""`look`: reads what all servers of this user keep. It is at most a second old.

All pages of a process share one look: ten operators cost the servers as much as one does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import msgspec

from mpkernel.dashboard.known_history import KnownHistory
from mpkernel.errors import MPKernelError
from mpkernel.server.operations.crashes import CrashReport, kept_reports, read_report
from mpkernel.server.operations.finding import PublishedServer, published_servers
from mpkernel.server.operations.history import HistoryPart
from mpkernel.server.operations.orders import read_history

__all__ = ["Look", "Looker", "SeenServer", "look"]

logger = logging.getLogger(__name__)

_MAX_AGE_S = 0.9
_PATIENCE_S = 2.0
_RETRY_S = 10.0
_ASKED_AT_ONCE = 32
_MAX_REPORTS = 50


class SeenServer(NamedTuple):
    """A server.

    Attributes:
        published: its snapshot, with where it is.
        history: what it used over the last hour; empty if it does not tell.
    """

    published: PublishedServer
    history: KnownHistory


class Look(NamedTuple):
    """What all servers look like at one moment.

    Attributes:
        servers: the oldest first.
        reports: the latest reports of deaths, the latest first.
        taken_at: when this was seen; `time.monotonic()`.
    """

    servers: list[SeenServer]
    reports: list[CrashReport]
    taken_at: float


class Looker:
    """Looks again when the last look is too old. From any thread.

    Args:
        max_age_s: how old a look may be.
        clock: seconds, as `time.monotonic`, which is the default.
    """

    def __init__(
        self, *, max_age_s: float = _MAX_AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._last: Look | None = None
        self._histories: dict[Path, KnownHistory] = {}
        self._silent_until: dict[Path, float] = {}
        self._reports: dict[Path, CrashReport | None] = {}

    def look(self) -> Look:
        """What there is to see now."""
        with self._lock:
            now = self._clock()
            if self._last is None or now - self._last.taken_at > self._max_age_s:
                found = published_servers()
                self._forget_all_but({one.path for one in found})
                self._ask_for_histories(found, now)
                servers = [SeenServer(one, self._histories[one.path]) for one in found]
                self._last = Look(servers, self._latest_reports(), now)
            return self._last

    def _ask_for_histories(self, servers: Iterable[PublishedServer], now: float) -> None:
        """Ask all servers at the same time: several silent servers delay a page no longer than one
        does. If there are too many, the rest is asked at the next look."""
        with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="mpkernel-look") as threads:
            asked = {}
            for server in servers:
                history = self._histories.setdefault(server.path, KnownHistory())
                if self._may_answer(server, now):
                    asked[threads.submit(_told_by, server, history.last)] = server.path
            wait(asked, timeout=_PATIENCE_S)
            threads.shutdown(cancel_futures=True)
        for future, path in asked.items():
            if future.cancelled():
                continue
            if (part := future.result()) is None or not _is_added(part, self._histories[path]):
                self._silent_until[path] = now + _RETRY_S

    def _may_answer(self, server: PublishedServer, now: float) -> bool:
        is_silent = now < self._silent_until.get(server.path, 0.0)
        return server.snapshot.has_control and not server.is_stopped and not is_silent

    def _forget_all_but(self, paths: set[Path]) -> None:
        for gone in self._histories.keys() - paths:
            del self._histories[gone]
            self._silent_until.pop(gone, None)

    def _latest_reports(self) -> list[CrashReport]:
        try:
            paths = kept_reports()[-_MAX_REPORTS:]
        except OSError as error:
            logger.debug("reports of deaths cannot be read: %s", error)
            return []
        self._reports = {
            path: self._reports[path] if path in self._reports else _read(path) for path in paths
        }
        known = [report for report in self._reports.values() if report is not None]
        return sorted(known, key=lambda report: -report.at)


def _told_by(server: PublishedServer, since: int) -> HistoryPart | None:
    try:
        return read_history(server.path, since=since, patience_s=_PATIENCE_S)
    except MPKernelError as error:  # it is stopped, or ends, or is of an older version
        logger.debug("no history of server %d: %s", server.snapshot.pid, error)
        return None


def _is_added(part: HistoryPart, history: KnownHistory) -> bool:
    try:
        history.add(part)
    except ValueError as error:
        logger.warning("a server tells an impossible history: %s", error)
        return False
    return True


def _read(path: Path) -> CrashReport | None:
    try:
        return read_report(path)
    except (OSError, msgspec.DecodeError) as error:  # it was removed for a later one, or is foreign
        logger.debug("a report of a death cannot be read: %s: %s", path, error)
        return None


_looker = Looker()


def look() -> Look:
    """What there is to see now, shared by all pages of this process."""
    return _looker.look()
