"""`mpkernel crashes [REPORT]`: the reports of deaths of apps' processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mpkernel.amounts import calendar, memory
from mpkernel.cli.named_apps import as_argument, of_app
from mpkernel.cli.output import as_json, show, show_nothing
from mpkernel.cli.parsers import CommandParser, similar, some_text
from mpkernel.cli.screen import Screen, screen
from mpkernel.cli.tables import Cell, columns, heads, wrapped
from mpkernel.errors import MPKernelError
from mpkernel.plain_text import plain
from mpkernel.private_files import crash_directory
from mpkernel.reaching import in_words
from mpkernel.server.operations.crashes import (
    CrashReport,
    SessionAtDeath,
    kept_reports,
    read_report,
)
from mpkernel.server.operations.snapshot import place_of

__all__ = ["parser", "run"]

_HEAD = heads("REPORT", "WHEN", "APP", "PID", "REASON", "SESSIONS", "WHAT")
_MEMORY_LINES = 12


def parser() -> CommandParser:
    """Of what follows `mpkernel crashes`."""
    made = CommandParser(
        prog="mpkernel crashes",
        description=f"List the reports of deaths in {crash_directory()}, or show one.",
        examples={
            "mpkernel crashes": "the deaths of apps' processes, the latest first",
            "mpkernel crashes 1": "the latest, with all that is known",
            "mpkernel crashes --app sales.py 1": "the latest of this app",
        },
    )
    made.add_argument(
        "report", nargs="?", metavar="REPORT", help="its number in the list; 1 is the latest"
    )
    made.add_argument(
        "--app",
        type=some_text,
        metavar="APP",
        help="only the reports of this app: a path, or its name alone",
    )
    made.add_argument("--json", action="store_true", help="for programs (mpkernel docs commands)")
    return made


def run(arguments: Sequence[str]) -> int:
    """List the reports, or show one; give the exit code.

    Args:
        arguments: what follows `mpkernel crashes`.

    Raises:
        MPKernelError: the reports cannot be read, or there is no such report.
    """
    given = parser().parse_args(arguments)
    everything = _reports()
    reports, of = everything, ""
    if given.app is not None:
        reports = of_app(given.app, everything, lambda one: one.app)
        of = f" of {plain(given.app)}"
    meant = _meant(given.app, everything)
    if given.report is not None:
        if not reports:
            raise MPKernelError(f"there are no reports of deaths{of}{meant}")
        report = _chosen(given.report, reports)
        if given.json:
            print(as_json("crashes", reports=[report]))
        else:
            show(_shown(report, screen()), then=_after(report))
    elif given.json:
        print(as_json("crashes", reports=reports))
    elif reports:
        only = f" --app {as_argument(given.app)}" if given.app else ""
        show(
            _listed(reports, screen()),
            then=f"mpkernel crashes{only} 1 shows all that is known of the latest",
        )
    else:
        show_nothing(f"no reports of deaths{of} in {crash_directory()}{meant}")
    return os.EX_OK


def _meant(app: str | None, reports: Sequence[CrashReport]) -> str:
    """Which app of the reports was probably meant, as the end of a sentence."""
    known = {plain(os.path.basename(one.app)) for one in reports}
    return "" if app is None else similar(os.path.basename(app), known)


def _reports() -> list[CrashReport]:
    """The latest first."""
    try:
        paths = kept_reports()
    except OSError as error:
        raise MPKernelError(f"the reports cannot be read: {in_words(error)}") from error
    found = (_read(path) for path in reversed(paths))
    return [report for report in found if report is not None]


def _read(path: Path) -> CrashReport | None:
    try:
        return read_report(path)
    except FileNotFoundError:  # a newer report has just replaced it
        return None
    except (OSError, msgspec.DecodeError) as error:
        why = plain(f"{path}: {error}")
        print(f"mpkernel: not a report that can be read: {why}", file=sys.stderr)
        return None


def _chosen(number: str, reports: Sequence[CrashReport]) -> CrashReport:
    if number.isdecimal() and 1 <= int(number) <= len(reports):
        return reports[int(number) - 1]
    raise MPKernelError(
        f"there is no report {number}: they are numbered from 1 to {len(reports)}",
        remedy="`mpkernel crashes` lists them",
    )


def _listed(reports: Sequence[CrashReport], to: Screen) -> list[str]:
    rows = [
        (
            str(number),
            calendar(report.at),
            os.path.basename(report.app),
            str(report.pid or "-"),
            Cell(report.reason, "bad"),
            str(len(report.sessions)),
            report.what,
        )
        for number, report in enumerate(reports, 1)
    ]
    return columns([_HEAD, *rows], right={0, 3, 5}, flexible={2, 6}, omit=(5, 3), screen=to)


def _shown(report: CrashReport, to: Screen) -> Iterator[str]:
    for line in wrapped(plain(f"{calendar(report.at)}  {report.app}"), to, indent="  ", first=""):
        yield to.paint(line, "head")
    for line in wrapped(plain(f"{report.reason}: {report.what}"), to, indent="  ", first=""):
        yield to.paint(line, "bad")
    facts = f"process {report.pid or '-'} of server {report.server_pid}, mpkernel {report.version}"
    yield from wrapped(plain(facts), to, indent="  ", first="")
    if report.python is not None:
        yield from wrapped(f"Python: {plain(report.python)}", to, indent="  ", first="")
    if report.worker is not None:
        ran = f"ran {place_of(report.worker, report.pid_on_worker)}"
        yield from wrapped(plain(ran), to, indent="  ", first="")
    yield from _section("Sessions", [_session_line(one) for one in report.sessions], to)
    yield from _section("Memory", _memory_lines(report), to)
    yield from _section("Traceback", report.faults.splitlines(), to)
    yield from _section("Last output", report.last_lines, to)


def _section(title: str, lines: Sequence[str], to: Screen) -> Iterator[str]:
    if lines:
        yield ""
        yield to.paint(f"{title}:", "head")
        for line in lines:
            yield from wrapped(plain(line), to, indent="    ", first="  ")


def _after(report: CrashReport) -> str:
    name = as_argument(os.path.basename(report.app))
    return f"mpkernel crashes --app {name} lists all of this app; mpkernel docs troubleshooting"


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
