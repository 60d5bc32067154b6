"""The pages as HTML: all servers, one server, one app. Which one, `View` says."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import psutil

from mpkernel.amounts import age, calendar
from mpkernel.dashboard import html
from mpkernel.dashboard.app_page import app_page, running_sessions
from mpkernel.dashboard.charts import chart, sparkline
from mpkernel.dashboard.deaths import deaths
from mpkernel.dashboard.known_history import KnownHistory
from mpkernel.dashboard.looking import Look, SeenServer
from mpkernel.dashboard.views import View
from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, PoolSnapshot

__all__ = ["page"]

logger = logging.getLogger(__name__)

_APP_HEADS = (
    *("App", "State", "Memory", "CPU", "Sessions", "Running", "Messages", "Ping"),
    *("Processes", "Deaths"),
)


def page(view: View, look: Callable[[], Look]) -> str:
    """The page, without its buttons. Where it cannot be made, it says so, and the next one may be
    whole again: what a server of another version keeps must not end the page.

    Args:
        view: what it shows.
        look: gives what there is to see.
    """
    try:
        body = _body(view, look())
    except Exception as error:
        logger.exception("a page of the dashboard could not be made")
        said = html.text(f"This page could not be made: {error!r}")
        body = f'<p class="note" role="alert">{said}</p>'
    return f'<div class="mpk">{_path_to(view)}{body}</div>'


def _body(view: View, seen: Look) -> str:
    server, app = view.server_in(seen), view.app_in(seen)
    if view.app:
        if server is None or app is None:
            return _gone(f"server {view.server} has no app {view.app}")
        return app_page(view, server, app, seen)
    if view.server:
        if server is None:
            return _gone(f"server {view.server} has ended, or is not of this user")
        return _server_page(view, server, seen)
    return _all_servers(seen)


def _path_to(view: View) -> str:
    if not view.server:
        return "<h1>mpkernel dashboard</h1>"
    title = f"server {view.server}"
    steps = [html.link(View().url, "all servers")]
    if view.app:
        steps.append(html.link(View(view.server).url, title))
        title = os.path.basename(view.app)
    above = " &rsaquo; ".join(steps)
    return f'<nav aria-label="pages above this one">{above}</nav><h1>{html.text(title)}</h1>'


def _gone(what: str) -> str:
    return f'<p class="note" role="status">{html.text(what)}</p>'


def _all_servers(seen: Look) -> str:
    if not seen.servers:
        return _gone("no server of this user runs: `mpkernel run` starts one") + deaths(seen)
    parts = [_server(one, seen, is_alone=False) for one in seen.servers]
    return "".join(parts) + running_sessions(seen, None) + deaths(seen) + _orders(seen.servers)


def _server_page(view: View, server: SeenServer, seen: Look) -> str:
    pool = server.published.snapshot.pool
    apps = [app.path for app in pool.apps]
    return (
        _server(server, seen, is_alone=True)
        + running_sessions(seen, server)
        + _environments(pool)
        + deaths(seen, server=view.server, apps=apps)
        + _orders([server])
    )


def _server(server: SeenServer, seen: Look, *, is_alone: bool) -> str:
    snapshot = server.published.snapshot
    pid, name = snapshot.pid, f"server {snapshot.pid}"
    title = html.text(name) if is_alone else html.link(View(pid).url, name)
    body = html.facts(_facts(server, seen))
    if is_alone:
        body += _charts(server.history)
    body += _apps(server)
    return html.section(
        f"{title} <small>{html.text(snapshot.program)}</small>", body, name=f"server-{pid}"
    )


def _facts(server: SeenServer, seen: Look) -> list[tuple[str, str]]:
    snapshot, pool = server.published.snapshot, server.published.snapshot.pool
    hosts = [host for app in pool.apps for host in app.hosts]
    known = [
        ("state", html.state(_state_of(server))),
        ("up", html.text(age(time.monotonic() - snapshot.started_at))),
        ("sessions", html.text(sum(len(host.sessions) for host in hosts))),
        ("memory of apps", html.text(html.size(sum(host.rss_bytes or 0 for host in hosts)))),
        ("memory of the server", html.text(html.size(_memory_of(server)))),
        ("CPU of apps", html.text(html.percent(sum(host.cpu or 0.0 for host in hosts)))),
        ("processes", html.text(len(hosts))),
        ("standby", html.of_limit(str(len(pool.standby)), str(pool.standby_wanted))),
        (
            "files",
            f"{html.text(pool.files)}, "
            + html.of_limit(
                html.size(pool.files_bytes),
                None if pool.files_limit_bytes is None else html.size(pool.files_limit_bytes),
            ),
        ),
        ("versions", html.text(f"mpkernel {snapshot.version}, Python {snapshot.python}")),
    ]
    if pool.one_of is not None:
        others = [
            one.published.snapshot.pid
            for one in seen.servers
            if one.published.snapshot.pool.one_of == pool.one_of
        ]
        links = ", ".join(html.link(View(pid).url, str(pid)) for pid in others)
        known.append(("one server with", links))
    if not snapshot.has_control:
        known.append(("orders", html.text("takes none, and keeps no curves")))
    return known


def _state_of(server: SeenServer) -> str:
    if server.published.is_stopped:
        return "stopped"
    return "leaving" if server.published.snapshot.pool.is_leaving else "ready"


def _memory_of(server: SeenServer) -> int | None:
    process = server.published.process
    try:
        return int(process.memory_info().rss) if process is not None else None
    except psutil.Error:
        return None


def _charts(history: KnownHistory) -> str:
    curve = history.curve("")
    if curve is None:
        return ""
    dead = history.values(curve, "deaths")
    return (
        '<div class="charts">'
        + "".join(
            chart(title, history.values(curve, name), text_of, deaths=dead)
            for title, name, text_of in (
                ("memory of apps", "memory_bytes", html.size),
                ("CPU of apps", "cpu", html.percent),
                ("sessions", "sessions", html.count_of),
                ("messages from apps", "messages_per_s", html.rate),
            )
        )
        + "</div>"
    )


def _apps(server: SeenServer) -> str:
    apps = server.published.snapshot.pool.apps
    if not apps:
        return '<p class="note">No app was opened yet.</p>'
    pid = server.published.snapshot.pid
    rows = [_app_row(pid, app, server.history) for app in sorted(apps, key=_trouble)]
    return html.table(_APP_HEADS, rows, about=f"apps of server {pid}")


def _app_row(pid: int, app: AppSnapshot, history: KnownHistory) -> list[str]:
    hosts = app.hosts
    sessions = [one for host in hosts for one in host.sessions]
    curve = history.curve(app.path)
    memory_now = html.size(sum(host.rss_bytes or 0 for host in hosts))
    cpu_now = html.percent(sum(host.cpu or 0.0 for host in hosts))
    messages = html.rate(sum(host.messages_per_s for host in hosts))
    ping = "-"
    if curve is not None:
        memory_now += sparkline(
            history.values(curve, "memory_bytes"), f"memory of {app.name}", html.size
        )
        cpu_now += sparkline(history.values(curve, "cpu"), f"CPU of {app.name}", html.percent)
        pings = [value for value in history.values(curve, "ping_s")[-12:] if value >= 0]
        ping = html.duration(pings[-1]) if pings else "-"
    limits = app.limits
    waiting = f", {app.waiting} wait" if app.waiting else ""
    name = html.link(View(pid, app.path).url, app.name)
    died = f"{app.deaths} <small>{html.text(app.last_reason or '')}</small>"
    return [
        f'<span title="{html.text(app.path)}">{name}</span>',
        html.state(_app_state(app, hosts)),
        f'<span class="curve">{memory_now}</span>',
        f'<span class="curve">{cpu_now}</span>',
        html.of_limit(f"{len(sessions)}{waiting}", _text_of(limits.sessions_max)),
        html.text(sum(one.is_running for one in sessions)),
        html.text(messages),
        html.text(ping),
        html.of_limit(str(len(hosts)), _text_of(limits.processes_max)),
        died if app.deaths else "0",
    ]


def _text_of(limit: int | None) -> str | None:
    return None if limit is None else str(limit)


def _app_state(app: AppSnapshot, hosts: list[HostSnapshot]) -> str:
    if hosts:
        return hosts[0].state
    return "failed" if app.is_failed else "waiting" if app.waiting else "idle"


def _trouble(app: AppSnapshot) -> tuple[bool, bool, str]:
    return not app.is_failed, not app.waiting, app.name


def _environments(pool: PoolSnapshot) -> str:
    rows = [
        [
            html.text(app.name),
            html.text(host.pid),
            html.text(host.environment or host.python or "-"),
            html.text("is being made" if host.is_preparing else "in use"),
            html.text(host.confine),
            html.text(host.launch_wrapper or "-"),
        ]
        for app in pool.apps
        for host in app.hosts
        if host.environment or host.python or host.launch_wrapper or host.confine != "off"
    ]
    if not rows:
        return ""
    heads = ("App", "Process", "Environment or Python", "State", "Confined", "Wrapper")
    return html.section("Sandboxes", html.table(heads, rows, about="sandboxes"), name="sandboxes")


def _orders(servers: list[SeenServer]) -> str:
    given = [(order, one.published.snapshot.pid) for one in servers for order in one.history.orders]
    if not given:
        return ""
    rows = [
        [
            calendar(order.at).rpartition(" ")[2],
            html.text(pid),
            html.text(order.who),
            html.text(order.what),
            html.text(order.says if order.done else f"refused: {order.says}"),
        ]
        for order, pid in sorted(given, key=lambda one: -one[0].at)[:20]
    ]
    heads = ("Time", "Server", "Who", "Order", "What became of it")
    return html.section(
        "Orders", html.table(heads, rows, about="orders, the latest first"), name="orders"
    )
