"""Servers as lines: a table of the apps' processes under a line for each server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psutil

from mpkernel.amounts import age, memory
from mpkernel.cli.named_apps import as_argument
from mpkernel.cli.screen import PLAIN, Screen, Style
from mpkernel.cli.tables import Cell, columns, heads, wrapped
from mpkernel.plain_text import plain
from mpkernel.server.operations.finding import PublishedServer
from mpkernel.server.operations.snapshot import (
    AppSnapshot,
    HostSnapshot,
    SessionSnapshot,
    place_of,
)
from mpkernel.server.supervision.deaths import Reason

__all__ = ["ALL", "ORDERS", "View", "next_step", "report"]

_HEAD = heads(
    *("APP", "PID", "STATE", "MEMORY", "CPU", "THREADS", "AGE", "SESSIONS", "RUNNING"),
    *("IN/S", "OUT/S", "BACKLOG", "FILES", "DEATHS", "LAST"),
)
_NUMBERS = frozenset(range(len(_HEAD))) - {0, 2, len(_HEAD) - 1}
_OMIT = tuple(
    [cell.text for cell in _HEAD].index(name)
    for name in (
        *("THREADS", "BACKLOG", "IN/S", "OUT/S", "FILES", "AGE"),
        *("LAST", "RUNNING", "DEATHS", "SESSIONS"),
    )
)
"""On a narrow screen these are left out, in this order."""

_STYLES: dict[str, Style] = {"ready": "good", "failed": "bad", "idle": "quiet"}
_UNREPORTED = frozenset(reason.value for reason in Reason if not reason.has_report)
_INDENT, _NOTE_INDENT = "  ", "      "
_NO_BREAK = "\N{NO-BREAK SPACE}"


class View(NamedTuple):
    """What of the servers is shown.

    Attributes:
        order: how the processes of a server are sorted, a key of `ORDERS`.
        words: only apps whose path, state, process id or worker contain this.
        with_sessions: whether a line for each session follows its process.
    """

    order: str = "trouble"
    words: str = ""
    with_sessions: bool = False


ALL = View()


class _Row(NamedTuple):
    """A row of the table: a process of an app, or an app that has no process."""

    app: AppSnapshot
    host: HostSnapshot | None

    @property
    def state(self) -> str:
        if self.host is not None:
            return self.host.state
        return "failed" if self.app.is_failed else "waiting" if self.app.waiting else "idle"

    @property
    def sessions(self) -> int:
        return 0 if self.host is None else len(self.host.sessions)

    @property
    def trouble(self) -> int:
        """A number by which rows are sorted: the lower it is, the sooner an operator should
        look."""
        if self.state == "failed":
            return 0
        is_well = self.host is None or (self.state == "ready" and self.host.refusal is None)
        return 2 if is_well and not self.app.waiting else 1

    @property
    def memory(self) -> int:
        return 0 if self.host is None else self.host.rss_bytes or 0

    def contains(self, words: str) -> bool:
        texts = [self.app.path, self.state]
        if self.host is not None:
            texts += [str(self.host.pid), self.host.worker or ""]
        return any(words.lower() in text.lower() for text in texts)


ORDERS: dict[str, Callable[[_Row], float]] = {
    "trouble": lambda row: row.trouble,
    "memory": lambda row: -row.memory,
    "cpu": lambda row: -(row.host.cpu or 0.0 if row.host else 0.0),
    "sessions": lambda row: -row.sessions,
    "deaths": lambda row: -row.app.deaths,
    "name": lambda row: 0,
}
"""What comes first. What is equal is sorted by memory, the most first; "name" by name alone."""


def report(
    servers: Sequence[PublishedServer], view: View = ALL, screen: Screen = PLAIN
) -> list[str]:
    """The servers, in lines.

    Args:
        servers: the snapshots to show.
        view: what of them is shown, and in what order.
        screen: what the lines are for.
    """
    now = time.monotonic()
    ordered = _together(servers)
    rows = {server.path: _rows(server, view) for server in ordered}
    lines_of = iter(_set(list(rows.values()), now, screen))
    lines: list[str] = []
    told: set[str] = set()
    for server in ordered:
        if lines:
            lines.append("")
        one_of = server.snapshot.pool.one_of
        if one_of is not None and one_of not in told:
            told.add(one_of)
            several = [one for one in servers if one.snapshot.pool.one_of == one_of]
            lines += _of_several(several, screen)
        lines += _summary(server, now, screen)
        if rows[server.path]:
            lines.append(next(lines_of))
        for row in rows[server.path]:
            lines.append(next(lines_of))
            for note in _notes(row, now, with_sessions=view.with_sessions):
                lines += wrapped(note, screen, indent=_NOTE_INDENT + "  ", first=_NOTE_INDENT)
    return lines


def next_step(servers: Sequence[PublishedServer]) -> str:
    """What an operator who has seen these servers may do."""
    for server in servers:
        if server.is_stopped:
            return f"kill -CONT {server.snapshot.pid} lets the stopped server go on"
    apps = [app for server in servers for app in server.snapshot.pool.apps]
    for app in sorted(apps, key=lambda one: (not one.is_failed, -_reports_of(one))):
        if _reports_of(app):
            name = as_argument(os.path.basename(app.path))
            return f"mpkernel crashes --app {name} shows why its processes ended"
    if apps:
        return "mpkernel top shows this again and again; mpkernel status --sessions each session"
    return "open a page of the server: its app is then shown here"


def _reports_of(app: AppSnapshot) -> int:
    """How many deaths of the app's processes were reported."""
    deaths = app.totals.deaths
    return sum(count for reason, count in deaths.items() if reason not in _UNREPORTED)


def _together(servers: Sequence[PublishedServer]) -> list[PublishedServer]:
    """The servers in an order in which the workers of one server follow each other."""
    firsts: dict[str, int] = {}
    for number, server in enumerate(servers):
        firsts.setdefault(server.snapshot.pool.one_of or str(server.path), number)
    return sorted(servers, key=lambda one: firsts[one.snapshot.pool.one_of or str(one.path)])


def _rows(server: PublishedServer, view: View) -> list[_Row]:
    rows: list[_Row] = []
    for app in server.snapshot.pool.apps:
        rows += [_Row(app, host) for host in app.hosts] or [_Row(app, None)]
    order = ORDERS[view.order]
    is_by_name = view.order == "name"
    return sorted(
        (row for row in rows if row.contains(view.words)),
        key=lambda row: (order(row), 0 if is_by_name else -row.memory, row.app.name, row.app.path),
    )


def _set(tables: Sequence[Sequence[_Row]], now: float, screen: Screen) -> Iterator[str]:
    """The lines of all tables, each with its head; all of them have columns of the same widths."""
    cells: list[Sequence[str | Cell]] = []
    for rows in tables:
        if rows:
            cells += [_HEAD, *(_cells(row, now) for row in rows)]
    if cells:
        for line in columns(
            cells,
            right=_NUMBERS,
            flexible={0},
            omit=_OMIT,
            screen=screen.without(len(_INDENT)),
        ):
            yield _INDENT + line


def _cells(row: _Row, now: float) -> Sequence[str | Cell]:
    app = row.app
    state = Cell(row.state, _STYLES.get(row.state, "attention"))
    past = Cell(str(app.deaths), "attention" if app.deaths else ""), app.last_reason or "-"
    if row.host is None:
        return (app.name, "-", state, *["-"] * 10, *past)
    pid, *used = _used(row.host, now)
    return (app.name, pid, state, *used, *past)


def _used(host: HostSnapshot, now: float) -> tuple[str, ...]:
    return (
        str(host.pid),
        memory(host.rss_bytes),
        "-" if host.cpu is None else f"{host.cpu:.0%}",
        "-" if host.threads is None else str(host.threads),
        age(now - host.started_at),
        str(len(host.sessions)),
        str(sum(session.is_running for session in host.sessions)),
        f"{host.sent_per_s:g}",
        f"{host.messages_per_s:g}",
        memory(host.backlog_bytes),
        memory(host.files_bytes),
    )


def _notes(row: _Row, now: float, *, with_sessions: bool) -> Iterator[str]:
    host = row.host
    if host is not None:
        if host.worker is not None:
            yield plain(place_of(host.worker, host.pid_on_worker))
        if host.python is not None and host.environment is None:
            yield f"Python: {plain(host.python)}"
        if host.confine != "off":
            yield f"confined: {plain(host.confine)}"
        if host.launch_wrapper is not None:
            yield f"launch_wrapper: {plain(host.launch_wrapper)}"
        if host.refusal is not None:
            yield f"takes no sessions: {plain(host.refusal)}"
        if host.environment is not None:
            what = "makes the environment" if host.is_preparing else "runs in the environment"
            yield f"{what} {plain(host.environment)}"
        if with_sessions:
            for session in host.sessions:
                yield _session(session, now)
    if row.app.waiting and (host is None or host is row.app.hosts[-1]):
        yield f"sessions that wait: {row.app.waiting}"


def _session(session: SessionSnapshot, now: float) -> str:
    what = f" {plain(session.running)}" if session.running else ""
    state = f"running{what}" if session.is_running else "idle"
    held = f"window {memory(session.window_used_bytes)}, waiting {memory(session.waiting_bytes)}"
    strikes = f", has ended its process {session.strikes} times" if session.strikes else ""
    quiet = age(now - session.acted_at)
    return f"session {plain(session.session_id)}: {state}, last sent {quiet} ago, {held}{strikes}"


def _of_several(servers: Sequence[PublishedServer], screen: Screen) -> list[str]:
    """A line for a server that has several processes."""
    if len(servers) < 2:
        return []
    hosts = [host for one in servers for app in one.snapshot.pool.apps for host in app.hosts]
    used = [_memory_of(one) or 0 for one in servers] + [host.rss_bytes or 0 for host in hosts]
    facts = [
        f"{len(servers)} processes of one server",
        f"sessions {sum(len(host.sessions) for host in hosts)}",
        f"memory with their apps {memory(sum(used))}",
    ]
    return _joined(facts, screen)


def _summary(server: PublishedServer, now: float, screen: Screen) -> list[str]:
    snapshot, pool = server.snapshot, server.snapshot.pool
    hosts = [host for app in pool.apps for host in app.hosts]
    facts = [
        f"server {snapshot.pid}",
        plain(snapshot.program),
        plain(f"mpkernel {snapshot.version}, Python {snapshot.python}"),
        f"up {age(now - snapshot.started_at)}",
        f"memory {memory(_memory_of(server))}",
        f"sessions {sum(len(host.sessions) for host in hosts)}",
        f"standby {len(pool.standby)}",
        f"files {pool.files}, {memory(pool.files_bytes)}",
    ]
    if pool.is_leaving:
        facts.append("LEAVING")
    if not snapshot.has_control:
        facts.append("takes no orders")
    first, *others = _joined(facts, screen)
    lines = [screen.paint(first, "head"), *others]
    if server.is_stopped:
        says = f"STOPPED: it answers nothing (kill -CONT {snapshot.pid} lets it go on)"
        stopped = wrapped(says, screen, indent=_INDENT)
        lines += [screen.paint(line, "bad") for line in stopped]
    return lines


def _joined(facts: Sequence[str], screen: Screen) -> list[str]:
    """Facts on as few lines as possible, each on one of them."""
    text = " · ".join(fact.replace(" ", _NO_BREAK) for fact in facts)
    lines = wrapped(text, screen, indent=_INDENT, first="")
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _memory_of(server: PublishedServer) -> int | None:
    try:
        return int(server.process.memory_info().rss) if server.process is not None else None
    except psutil.Error:
        return None
