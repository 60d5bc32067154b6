"""Reports of deaths: one file for each death. Only the latest are kept.

    <date>T<time>-<app>-<pid>.json, in `private_files.crash_directory`; only the user can read it

A report tells an operator why a process ended, what it wrote last, how its memory grew, and which
sessions were on it. Its size is bounded, however much the process wrote.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpkernel.logs import get_logger
from mpkernel.private_files import crash_directory, make_private, remove_leftovers, write_private
from mpkernel.server.operations.kept_files import read_kept
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death
from mpkernel.server.supervision.usage import Usage
from mpkernel.version import __version__

__all__ = [
    "CrashReport",
    "CrashReports",
    "Memory",
    "SessionAtDeath",
    "kept_reports",
    "read_report",
    "report_of",
]

logger = get_logger(__name__)

_SUFFIX = ".json"
_FAULT_CHARS = 64 * 1024
_LINE_CHARS = 2 * 1024
_MAX_SESSIONS = 1000
_MAX_BYTES = 16 * 1024 * 1024
_MAX_WAITING = 16
_NAME_CHARS = 60
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class Memory(msgspec.Struct, frozen=True):
    """What a process used at one moment.

    Attributes:
        before_s: how long before the report, in seconds.
        rss_bytes: the memory of the process and of all that it started.
        processes: how many these are.
        threads: how many threads the process itself had.
    """

    before_s: float
    rss_bytes: int
    processes: int
    threads: int


class SessionAtDeath(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was on a process when it ended.

    Attributes:
        session_id: the client's name for it.
        was_running: whether its kernel had said that it runs a command.
        running: which command, as far as the session's journal knows; "" if that is unknown.
        idle_s: how long ago its client had last sent something.
        thread: the ident of its kernel's thread, as faulthandler names it; None if there was none.
        comes_back: whether it can be rebuilt on another process.
    """

    session_id: str
    was_running: bool
    running: str
    idle_s: float
    thread: int | None
    comes_back: bool


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a death.

    Attributes:
        at: when; seconds since the epoch.
        server_pid: the process id of its server.
        version: the version of mpkernel.
        app, pid, reason, what: see `Death`; the reason is a word.
        faults: faulthandler's traceback of every thread; empty when it wrote none.
        last_lines: the last lines that it wrote to its descriptors 1 and 2.
        memory: what it used, the oldest sample first.
        sessions: the sessions that were on it.
        python, worker, pid_on_worker: see `Death`.
    """

    at: float
    server_pid: int
    version: str
    app: str
    pid: int
    reason: str
    what: str
    faults: str
    last_lines: list[str]
    memory: list[Memory]
    sessions: list[SessionAtDeath]
    python: str | None = None
    worker: str | None = None
    pid_on_worker: int | None = None


_decoder = msgspec.json.Decoder(CrashReport)


def report_of(
    death: Death, sessions: Sequence[BaseSession], usages: Sequence[Usage]
) -> CrashReport:
    """The report of a death that was noticed just now."""
    now = time.monotonic()
    return CrashReport(
        at=time.time(),
        server_pid=os.getpid(),
        version=__version__,
        app=death.app,
        pid=death.pid,
        reason=death.reason.value,
        what=death.what,
        faults=death.faults[:_FAULT_CHARS],
        last_lines=[line[-_LINE_CHARS:] for line in death.last_lines],
        memory=[
            Memory(round(now - one.taken_at, 1), one.rss_bytes, one.processes, one.threads)
            for one in usages
        ],
        sessions=[_session(session, now) for session in sessions[:_MAX_SESSIONS]],
        python=death.python,
        worker=death.worker,
        pid_on_worker=death.pid_on_worker,
    )


class CrashReports:
    """Adds one server's reports to those of its user. For one thread at a time.

    Args:
        count: how many reports are kept.
        directory: the folder. Default: `private_files.crash_directory`.
    """

    def __init__(self, count: int, directory: Path | None = None) -> None:
        self._count = count
        self._directory = directory if directory is not None else crash_directory()
        self._waiting: deque[CrashReport] = deque(maxlen=min(count, _MAX_WAITING))
        self._is_failing = False

    def keep(self, report: CrashReport) -> None:
        """Write a report, and remove the oldest if there are too many. If it cannot be written,
        that is logged once, and the latest such reports wait."""
        self._waiting.append(report)
        self.catch_up()

    def catch_up(self) -> None:
        """Write the reports that wait, if that is possible by now."""
        while self._waiting:
            report = self._waiting[0]
            try:
                path = self._write(report)
            except OSError as error:
                if not self._is_failing:
                    logger.warning("no reports of deaths can be kept for now: %s", error)
                self._is_failing = True
                return
            self._is_failing = False
            self._waiting.popleft()
            logger.info("report of a death kept file=%s", path, app=report.app, pid=report.pid)

    def _write(self, report: CrashReport) -> Path:
        make_private(self._directory)
        path = self._directory / _name_of(report)
        write_private(path, msgspec.json.format(msgspec.json.encode(report)))
        remove_leftovers(self._directory)
        # If the calendar was set back, the latest report does not have the last name.
        others = [kept for kept in kept_reports(self._directory) if kept != path]
        for old in others[: max(0, len(others) + 1 - self._count)]:
            old.unlink(missing_ok=True)
        return path


def kept_reports(directory: Path | None = None) -> list[Path]:
    """The reports that there are, the oldest first.

    Args:
        directory: where. Default: `private_files.crash_directory`.

    Raises:
        OSError: they cannot be read.
    """
    try:
        names = os.listdir(place := directory if directory is not None else crash_directory())
    except FileNotFoundError:
        return []
    return [place / name for name in sorted(names) if _is_report(name)]


def read_report(path: Path) -> CrashReport:
    """Read one report.

    Raises:
        OSError: it cannot be read, for example because it was removed for a later one.
        msgspec.DecodeError: it is not a report, or one of another version.
    """
    return read_kept(path, _decoder, max_bytes=_MAX_BYTES)


def _session(session: BaseSession, now: float) -> SessionAtDeath:
    return SessionAtDeath(
        session_id=session.session_id,
        was_running=session.is_running,
        running=session.traffic.running,
        idle_s=round(now - session.acted_at, 1),
        thread=session.thread,
        comes_back=session.can_be_rebuilt,
    )


def _name_of(report: CrashReport) -> str:
    """The report's file name. Ordered by name, the oldest report is first."""
    when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(report.at))
    part = f"{report.at % 1:.3f}"[2:]
    app = _UNSAFE.sub("_", os.path.basename(report.app))[-_NAME_CHARS:]
    return f"{when}.{part}Z-{app}-{report.pid}{_SUFFIX}"


def _is_report(name: str) -> bool:
    return name[:8].isdecimal() and name.endswith(_SUFFIX)
