"""`mpkernel status [--json] [--sessions]`: every running server of this user, once."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec
import psutil

from mpkernel.cli.tables import age, columns, memory, plain
from mpkernel.server.operations.finding import PublishedServer, published_servers
from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, SessionSnapshot

__all__ = ["report", "run"]

_HEAD = (
    *("APP", "PID", "STATE", "MEMORY", "CPU", "THREADS", "AGE", "SESSIONS", "RUNNING"),
    *("IN/S", "OUT/S", "BACKLOG", "FILES", "DEATHS", "LAST"),
)
_NUMBERS = frozenset(range(len(_HEAD))) - {0, 2, len(_HEAD) - 1}


def run(arguments: Sequence[str]) -> int:
    """Show the servers; give the exit code: 0, or 1 where no server runs.

    Args:
        arguments: what follows `mpkernel status`.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel status", description="Show the servers of this user that run."
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of servers")
    parser.add_argument("--sessions", action="store_true", help="each session too")
    given = parser.parse_args(arguments)
    servers = published_servers()
    if given.json:
        print(msgspec.json.format(_as_json(servers)).decode())
    elif servers:
        print("\n".join(report(servers, with_sessions=given.sessions)))
    else:
        print("no server of this user runs, or keeps a snapshot", file=sys.stderr)
    return 0 if servers else 1


def report(servers: Sequence[PublishedServer], *, with_sessions: bool = False) -> list[str]:
    """The servers, in lines.

    Args:
        servers: the snapshots to show.
        with_sessions: whether a line for each session follows its process.
    """
    now = time.monotonic()
    lines: list[str] = []
    told: set[str] = set()
    for server in _together(servers):
        if lines:
            lines.append("")
        one_of = server.snapshot.pool.one_of
        if one_of is not None and one_of not in told:
            told.add(one_of)
            lines += _of_several([one for one in servers if one.snapshot.pool.one_of == one_of])
        lines += _summary(server, now)
        if server.snapshot.pool.apps:
            lines += _apps(server.snapshot.pool.apps, now, with_sessions=with_sessions)
    return lines


def _as_json(servers: Sequence[PublishedServer]) -> bytes:
    now = time.monotonic()
    return msgspec.json.encode(
        [
            {
                "is_stopped": server.is_stopped,
                "age_s": round(now - server.snapshot.started_at, 1),
                "snapshot_age_s": round(now - server.snapshot.taken_at, 1),
                **msgspec.structs.asdict(server.snapshot),
            }
            for server in servers
        ]
    )


def _together(servers: Sequence[PublishedServer]) -> list[PublishedServer]:
    """The same servers; the processes of one server follow each other."""
    firsts: dict[str, int] = {}
    for number, server in enumerate(servers):
        firsts.setdefault(server.snapshot.pool.one_of or str(server.path), number)
    return sorted(servers, key=lambda one: firsts[one.snapshot.pool.one_of or str(one.path)])


def _of_several(servers: Sequence[PublishedServer]) -> list[str]:
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
    return [" · ".join(facts)]


def _summary(server: PublishedServer, now: float) -> list[str]:
    snapshot, pool = server.snapshot, server.snapshot.pool
    hosts = [host for app in pool.apps for host in app.hosts]
    facts = [
        f"server {snapshot.pid}",
        plain(snapshot.program),
        f"mpkernel {snapshot.version}, Python {snapshot.python}",
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
    lines = [" · ".join(facts)]
    if server.is_stopped:
        lines.append(f"  STOPPED: it answers nothing (kill -CONT {snapshot.pid} lets it go on)")
    return lines


def _apps(apps: Sequence[AppSnapshot], now: float, *, with_sessions: bool) -> list[str]:
    rows: list[tuple[str, ...]] = [_HEAD]
    notes: dict[int, list[str]] = {}  # by the row that they follow
    for app in apps:
        if not app.hosts:
            state = "failed" if app.is_failed else "waiting" if app.waiting else "idle"
            rows.append((plain(app.name), "-", state, *["-"] * 10, *_past(app)))
        for host in app.hosts:
            rows.append((plain(app.name), *_host(host, now), *_past(app)))
            if host.python is not None and host.environment is None:
                notes.setdefault(len(rows), []).append(f"Python: {plain(host.python)}")
            if host.refusal is not None:
                notes.setdefault(len(rows), []).append(f"takes no sessions: {plain(host.refusal)}")
            if host.environment is not None:
                what = "makes the environment" if host.is_preparing else "runs in the environment"
                notes.setdefault(len(rows), []).append(f"{what} {plain(host.environment)}")
            if with_sessions:
                notes.setdefault(len(rows), []).extend(_session(one, now) for one in host.sessions)
        if app.waiting:
            notes.setdefault(len(rows), []).append(f"sessions that wait: {app.waiting}")
    lines: list[str] = []
    for number, line in enumerate(columns(rows, right=_NUMBERS), 1):
        lines += [f"  {line}", *(f"      {note}" for note in notes.get(number, ()))]
    return lines


def _host(host: HostSnapshot, now: float) -> tuple[str, ...]:
    return (
        str(host.pid),
        host.state,
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


def _past(app: AppSnapshot) -> tuple[str, str]:
    return str(app.deaths), app.last_reason or "-"


def _session(session: SessionSnapshot, now: float) -> str:
    what = f" {plain(session.running)}" if session.running else ""
    state = f"running{what}" if session.is_running else "idle"
    held = f"window {memory(session.window_used_bytes)}, waiting {memory(session.waiting_bytes)}"
    strikes = f", has ended its process {session.strikes} times" if session.strikes else ""
    quiet = age(now - session.acted_at)
    return f"session {plain(session.session_id)}: {state}, last sent {quiet} ago, {held}{strikes}"


def _memory_of(server: PublishedServer) -> int | None:
    try:
        return int(server.process.memory_info().rss) if server.process is not None else None
    except psutil.Error:
        return None
