"""`mpkernel crashes [REPORT]`: the reports of deaths of apps' processes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mpkernel.cli.tables import columns, memory, plain
from mpkernel.errors import MPKernelError
from mpkernel.private_files import crash_directory
from mpkernel.server.operations.crashes import (
    CrashReport,
    SessionAtDeath,
    kept_reports,
    read_report,
)

__all__ = ["run"]

_HEAD = ("REPORT", "WHEN", "APP", "PID", "REASON", "SESSIONS", "WHAT")
_MEMORY_LINES = 12


def run(arguments: Sequence[str]) -> int:
    """List the reports, or show one; give the exit code.

    Args:
        arguments: what follows `mpkernel crashes`.

    Raises:
        MPKernelError: the reports cannot be read, or there is no such report.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel crashes",
        description=f"List the reports of deaths in {crash_directory()}, or show one.",
    )
    parser.add_argument(
        "report", nargs="?", metavar="REPORT", help="its number in the list; 1 is the latest"
    )
    parser.add_argument("--app", metavar="NAME", help="only the reports of this app")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    reports = [report for report in _reports() if given.app in (None, os.path.basename(report.app))]
    if given.report is not None:
        report = _chosen(given.report, reports)
        print(_as_json(report) if given.json else "\n".join(_shown(report)))
    elif given.json:
        print(_as_json(reports))
    elif reports:
        print("\n".join(_listed(reports)))
    else:
        print(f"no reports of deaths in {crash_directory()}", file=sys.stderr)
    return os.EX_OK


def _reports() -> list[CrashReport]:
    """The latest first."""
    try:
        paths = kept_reports()
    except OSError as error:
        raise MPKernelError(f"the reports cannot be read: {error}") from error
    found = (_read(path) for path in reversed(paths))
    return [report for report in found if report is not None]


def _read(path: Path) -> CrashReport | None:
    try:
        return read_report(path)
    except FileNotFoundError:  # a newer report has just replaced it
        return None
    except (OSError, msgspec.DecodeError) as error:
        print(f"mpkernel: not a report that can be read: {path}: {error}", file=sys.stderr)
        return None


def _chosen(number: str, reports: Sequence[CrashReport]) -> CrashReport:
    if number.isdecimal() and 1 <= int(number) <= len(reports):
        return reports[int(number) - 1]
    raise MPKernelError(
        f"there is no report {number}, only {len(reports)}", remedy="`mpkernel crashes` lists them"
    )


def _as_json(reports: CrashReport | Sequence[CrashReport]) -> str:
    return msgspec.json.format(msgspec.json.encode(reports)).decode()


def _listed(reports: Sequence[CrashReport]) -> list[str]:
    rows = [
        (
            str(number),
            _when(report),
            plain(os.path.basename(report.app)),
            str(report.pid or "-"),
            report.reason,
            str(len(report.sessions)),
            plain(report.what),
        )
        for number, report in enumerate(reports, 1)
    ]
    return columns([_HEAD, *rows], right=frozenset({0, 3, 5}))


def _shown(report: CrashReport) -> Iterator[str]:
    yield f"{_when(report)}  {plain(report.app)}"
    yield f"{report.reason}: {plain(report.what)}"
    yield f"process {report.pid or '-'} of server {report.server_pid}, mpkernel {report.version}"
    if report.python is not None:
        yield f"Python: {plain(report.python)}"
    yield from _section("Sessions", [_session_line(session) for session in report.sessions])
    yield from _section("Memory", _memory_lines(report))
    yield from _section("Traceback", report.faults.splitlines())
    yield from _section("Last output", report.last_lines)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        for line in lines:
            yield f"  {plain(line)}"


def _session_line(session: SessionAtDeath) -> str:
    what = f" {session.running}" if session.running else ""
    state = f"was running{what}" if session.was_running else "was idle"
    fate = "comes back" if session.comes_back else "ended"
    thread = f", thread {session.thread:#x}" if session.thread is not None else ""
    return f"{session.session_id}: {state}, last sent {session.idle_s:g} s before, {fate}{thread}"


def _memory_lines(report: CrashReport) -> list[str]:
    """At most twelve of the measurements of its memory, the last one among them."""
    step = max(1, len(report.memory) // _MEMORY_LINES)
    looks = list(reversed(report.memory[::-step]))
    return [
        f"{look.before_s:6.1f} s before: {memory(look.rss_bytes)}, processes {look.processes},"
        f" threads {look.threads}"
        for look in looks
    ]


def _when(report: CrashReport) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.at))
