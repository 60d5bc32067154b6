"""The part of a page that tells of deaths, each with its report."""

from __future__ import annotations

import os
from collections.abc import Collection

from mpkernel.amounts import calendar
from mpkernel.dashboard.html import section, size, text
from mpkernel.dashboard.looking import Look
from mpkernel.server.operations.crashes import CrashReport
from mpkernel.server.operations.snapshot import place_of

__all__ = ["deaths"]

_SHOWN = 20
_SHOWN_SESSIONS = 30


def deaths(seen: Look, *, server: int = 0, apps: Collection[str] | None = None) -> str:
    """The latest deaths; nothing if there were none.

    Args:
        seen: what there is to see.
        server: only those of apps of this server; 0: of all.
        apps: only those of these apps. Default: of all.
    """
    found = [
        report
        for report in seen.reports
        if server in (0, report.server_pid) and (apps is None or report.app in apps)
    ][:_SHOWN]
    if not found:
        return ""
    return section("Deaths", "".join(_report(report) for report in found), name="deaths")


def _report(report: CrashReport) -> str:
    place = f" {place_of(report.worker, report.pid_on_worker)}" if report.worker else ""
    name = os.path.basename(report.app)
    parts = [
        ("Sessions", "\n".join(_sessions(report))),
        ("Memory", "\n".join(_memory(report))),
        ("Traceback", report.faults),
        ("Last output", "\n".join(report.last_lines)),
    ]
    body = "".join(
        f"<h3>{title}</h3><pre tabindex=0>{text(content)}</pre>"
        for title, content in parts
        if content
    )
    return (
        f'<details class="death"><summary><time>{calendar(report.at)}</time> <b>{text(name)}</b> '
        f'<span class="state bad">{text(report.reason)}</span> process {report.pid}{text(place)}, '
        f"{len(report.sessions)} sessions: {text(report.what)}</summary>{body}</details>"
    )


def _sessions(report: CrashReport) -> list[str]:
    return [
        f"{one.session_id}: {'ran ' + one.running if one.was_running else 'was idle'},"
        f" {'comes back' if one.comes_back else 'ended'}"
        for one in report.sessions[:_SHOWN_SESSIONS]
    ]


def _memory(report: CrashReport) -> list[str]:
    return [f"{one.before_s:6.1f} s before: {size(one.rss_bytes)}" for one in report.memory[-10:]]
