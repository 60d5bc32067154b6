"""The page of an app: its curves with their limits, its processes, and which sessions compute
what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from mpkernel.amounts import age
from mpkernel.dashboard import html
from mpkernel.dashboard.charts import chart, sparkline
from mpkernel.dashboard.deaths import deaths
from mpkernel.dashboard.known_history import KnownCurve, KnownHistory
from mpkernel.dashboard.looking import Look, SeenServer
from mpkernel.dashboard.views import View
from mpkernel.server.operations.snapshot import (
    AppSnapshot,
    HostSnapshot,
    SessionSnapshot,
    place_of,
)

__all__ = ["app_page", "running_sessions"]

_SHOWN_RUNNING = 20
_SHOWN_ENDED = 10
_PROCESS_HEADS = (
    *("Process", "State", "Age", "Memory", "CPU", "Sessions", "Messages", "Threads"),
    *("Descriptors", "Files"),
)


def app_page(view: View, server: SeenServer, app: AppSnapshot, seen: Look) -> str:
    """The page, without its buttons.

    Args:
        view: what it shows.
        server: the app's.
        app: the app.
        seen: what there is to see.
    """
    return (
        f"<p class='note'>{html.text(app.path)}</p>"
        + _charts(server, app)
        + html.section("Limits", html.facts(_limits(app)), name="limits")
        + html.section("Processes", _processes(server, app), name="processes")
        + running_sessions(seen, server, app)
        + deaths(seen, apps=[app.path])
    )


def _charts(server: SeenServer, app: AppSnapshot) -> str:
    history = server.history
    curve = history.curve(app.path)
    if curve is None:
        return '<p class="note">No curves: the server keeps none, or has not told them yet.</p>'

    def values(name: str) -> list[float]:
        return history.values(curve, name)

    dead, limits = values("deaths"), app.limits
    memory_limit = limits.memory_hard_bytes or limits.memory_soft_bytes
    may_have = limits.processes_max
    charts = [
        chart(
            "memory",
            values("memory_bytes"),
            html.size,
            limit=memory_limit * may_have if memory_limit and may_have else None,
            deaths=dead,
        ),
        chart("CPU", values("cpu"), html.percent, deaths=dead),
        chart(
            "sessions", values("sessions"), html.count_of, limit=limits.sessions_max, deaths=dead
        ),
        chart("messages from the app", values("messages_per_s"), html.rate, deaths=dead),
        chart("messages to the app", values("sent_per_s"), html.rate, deaths=dead),
        chart("answer to a ping", values("ping_s"), html.duration),
        chart("opening of a session", values("session_start_s"), html.duration),
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def _limits(app: AppSnapshot) -> Iterator[tuple[str, str]]:
    limits, hosts = app.limits, app.hosts

    def beside(value: str, limit: str | None) -> str:
        return html.of_limit(value, limit, unlimited="no limit")

    def highest(of: list[int | None]) -> int:
        return max((one for one in of if one is not None), default=0)

    memory_most = html.size(highest([host.rss_bytes for host in hosts]))
    sessions = [len(host.sessions) for host in hosts]
    for name, limit in (
        ("memory_soft_bytes", limits.memory_soft_bytes),
        ("memory_hard_bytes", limits.memory_hard_bytes),
    ):
        yield name, beside(memory_most, None if limit is None else html.size(limit))
    for name, value, limit in (
        ("processes_max", len(hosts), limits.processes_max),
        ("sessions_max", sum(sessions), limits.sessions_max),
        ("sessions_per_process", max(sessions, default=0), limits.sessions_per_process),
        ("max_threads", highest([host.threads for host in hosts]), limits.max_threads),
        ("max_descriptors", highest([host.descriptors for host in hosts]), limits.max_descriptors),
    ):
        yield name, beside(str(value), None if limit is None else str(limit))


def _processes(server: SeenServer, app: AppSnapshot) -> str:
    curves = {(one.pid, one.started_at): one for one in server.history.processes(app.path)}
    rows = [
        _process_row(host, curves.pop((host.pid, host.started_at), None), server.history)
        for host in app.hosts
    ]
    ended = sorted(curves.values(), key=lambda one: -one.end)[:_SHOWN_ENDED]
    rows += [_ended_row(curve, server.history) for curve in ended]
    if not rows:
        return '<p class="note">There is no process.</p>'
    return html.table(_PROCESS_HEADS, rows, about=f"processes of {app.name}")


def _process_row(host: HostSnapshot, curve: KnownCurve | None, history: KnownHistory) -> list[str]:
    memory_now, cpu_now = html.size(host.rss_bytes), html.percent(host.cpu)
    if curve is not None:
        memory_now += _spark(curve, "memory_bytes", history)
        cpu_now += _spark(curve, "cpu", history)
    refusal = "" if host.refusal is None else f" <small>{html.text(host.refusal)}</small>"
    place = "" if host.worker is None else place_of(host.worker, host.pid_on_worker)
    return [
        html.text(host.pid) + (f" <small>{html.text(place)}</small>" if place else ""),
        html.state(host.state) + refusal,
        html.text(age(time.monotonic() - host.started_at)),
        f'<span class="curve">{memory_now}</span>',
        f'<span class="curve">{cpu_now}</span>',
        html.text(len(host.sessions)),
        html.text(html.rate(host.messages_per_s)),
        html.text("-" if host.threads is None else host.threads),
        html.text("-" if host.descriptors is None else host.descriptors),
        html.text(html.size(host.files_bytes)),
    ]


def _ended_row(curve: KnownCurve, history: KnownHistory) -> list[str]:
    return [
        html.text(curve.pid),
        html.state("ended"),
        "-",
        f'<span class="curve">{_spark(curve, "memory_bytes", history)}</span>',
        f'<span class="curve">{_spark(curve, "cpu", history)}</span>',
        *["-"] * 5,
    ]


def _spark(curve: KnownCurve, name: str, history: KnownHistory) -> str:
    text_of = html.size if name == "memory_bytes" else html.percent
    about = "memory" if name == "memory_bytes" else "CPU"
    return sparkline(history.values(curve, name), f"{about} of process {curve.pid}", text_of)


class _Running(NamedTuple):
    server: int
    app: AppSnapshot
    host: HostSnapshot
    session: SessionSnapshot

    @property
    def since(self) -> float:
        return self.session.running_since or self.session.acted_at


def running_sessions(seen: Look, server: SeenServer | None, app: AppSnapshot | None = None) -> str:
    """The sessions that compute: what, and since when. Those that have computed for the longest
    time come first.

    Args:
        seen: what there is to see.
        server: the only server that is meant. Default: all are.
        app: the only one of its apps that is meant. Default: all are.
    """
    running = [
        _Running(one.published.snapshot.pid, an_app, host, session)
        for one in (seen.servers if server is None else [server])
        for an_app in ([app] if app is not None else one.published.snapshot.pool.apps)
        for host in an_app.hosts
        for session in host.sessions
        if session.is_running
    ]
    running.sort(key=lambda one: one.since)
    now = time.monotonic()
    rows = [
        [
            html.link(View(one.server, one.app.path).url, one.app.name),
            html.text(one.host.pid),
            html.text(one.session.session_id),
            html.text(one.session.running or "-"),
            html.text(age(now - one.since)),
        ]
        for one in running[:_SHOWN_RUNNING]
    ]
    if not rows:
        body = '<p class="note">Nobody computes.</p>'
    else:
        heads = ("App", "Process", "Session", "Runs", "For")
        body = html.table(heads, rows, about="sessions that compute, the longest first")
        if len(running) > len(rows):
            body += f'<p class="note">and {len(running) - len(rows)} more</p>'
    return html.section("Who computes", body, name="running")
