"""Makes the text of a metrics file from a snapshot: each metric with its name and what it means."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mpkernel.server.hosts.lifecycle import State
from mpkernel.server.operations.exposition import Exposition, Labels
from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, PoolSnapshot
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import AppTotals, Latencies

__all__ = ["ServerFacts", "metrics_of"]

_LIVING = (State.STARTING, State.READY, State.DRAINING, State.LEAVING)


class ServerFacts(NamedTuple):
    """What the metrics say of the server's own process.

    Attributes:
        name: the label that tells its metrics from those of other servers of the machine.
        pid, version, python: as in `snapshot.ServerSnapshot`.
        created_at: when the process was created; seconds since the epoch.
        rss_bytes: its resident memory.
    """

    name: str
    pid: int
    version: str
    python: str
    created_at: float
    rss_bytes: int


def metrics_of(pool: PoolSnapshot, server: ServerFacts) -> str:
    """A snapshot of this moment, in the OpenMetrics text format."""
    page = Exposition({"server": server.name})
    _add_server(page, pool, server)
    _add_apps(page, pool.apps)
    _add_totals(page, "mpkernel", [(_app(app), app.totals) for app in pool.apps])
    # These include apps that are forgotten. A sum over the apps above would fall when one is.
    _add_totals(page, "mpkernel_server", [({}, pool.totals)])
    _add_hosts(page, pool.apps)
    return page.text()


def _add_server(page: Exposition, pool: PoolSnapshot, server: ServerFacts) -> None:
    about = {"pid": str(server.pid), "version": server.version, "python": server.python}
    page.gauges("mpkernel_server", "1; the labels say which server it is.", [(about, 1)])
    page.gauges(
        "mpkernel_server_written_timestamp_seconds",
        "When the server wrote this file. A server that was killed writes it no more.",
        [({}, time.time())],
        unit="seconds",
    )
    page.gauges(
        "mpkernel_server_created_timestamp_seconds",
        "When the process of the server was created.",
        [({}, server.created_at)],
        unit="seconds",
    )
    page.gauges(
        "mpkernel_server_resident_memory_bytes",
        "Resident memory of the server, without its apps.",
        [({}, server.rss_bytes)],
        unit="bytes",
    )
    page.gauges(
        "mpkernel_server_leaving",
        "1 when the server takes no sessions any more.",
        [({}, int(pool.is_leaving))],
    )
    page.gauges(
        "mpkernel_standby_processes",
        "Warm processes that are ready for an app.",
        [({}, len(pool.standby))],
    )
    page.gauges("mpkernel_files", "Virtual files, a block each.", [({}, pool.files)])
    page.gauges(
        "mpkernel_files_bytes",
        "Bytes that virtual files hold.",
        [({}, pool.files_bytes)],
        unit="bytes",
    )


def _add_apps(page: Exposition, apps: list[AppSnapshot]) -> None:
    page.gauges(
        "mpkernel_app_failed",
        "1 when the app died too often, and is not started for a while.",
        [(_app(app), int(app.is_failed)) for app in apps],
    )
    page.gauges("mpkernel_hosts", "Processes of the app, by state.", _hosts_by_state(apps))
    page.gauges(
        "mpkernel_hosts_without_worker",
        "Processes of the app that wait for a worker of the cluster.",
        [(_app(app), sum(host.worker == "" for _, host in _living([app]))) for app in apps],
    )
    page.gauges(
        "mpkernel_sessions",
        "Sessions whose kernels have not ended.",
        [(_app(app), sum(len(host.sessions) for host in app.hosts)) for app in apps],
    )
    page.gauges(
        "mpkernel_sessions_running",
        "Sessions whose kernels run a command, as far as the kernels say.",
        [
            (_app(app), sum(one.is_running for host in app.hosts for one in host.sessions))
            for app in apps
        ],
    )
    page.gauges(
        "mpkernel_sessions_waiting",
        "Sessions that wait for a process.",
        [(_app(app), app.waiting) for app in apps],
    )


def _add_totals(page: Exposition, prefix: str, totals: list[tuple[Labels, AppTotals]]) -> None:
    def count(name: str, what: str, value_of: Callable[[AppTotals], int]) -> None:
        page.counters(f"{prefix}_{name}", what, [(labels, value_of(one)) for labels, one in totals])

    def time_taken(name: str, what: str, latencies_of: Callable[[AppTotals], Latencies]) -> None:
        values = [(labels, latencies_of(one)) for labels, one in totals]
        page.histograms(f"{prefix}_{name}", what, values)

    count("host_starts", "Processes that were started, or adopted.", lambda one: one.starts)
    page.counters(
        f"{prefix}_host_deaths",
        "Processes that ended by themselves, were restarted or could not be started.",
        _deaths_by_reason(totals),
    )
    count("sessions_opened", "Sessions that were opened.", lambda one: one.sessions)
    count("host_messages", "Messages that came from processes.", lambda one: one.messages)
    count("host_messages_sent", "Messages that were sent to processes.", lambda one: one.sent)
    count(
        "kernel_input_bytes",
        "Bytes that were sent to kernels.",
        lambda one: one.kernel_input_bytes,
    )
    count(
        "kernel_output_bytes",
        "Bytes that kernels have sent.",
        lambda one: one.kernel_output_bytes,
    )
    time_taken(
        "host_start_seconds",
        "Time from the launch of a process until it is ready.",
        lambda one: one.host_start,
    )
    time_taken(
        "session_start_seconds",
        "Time from the opening of a session until its kernel runs.",
        lambda one: one.session_start,
    )
    time_taken(
        "host_ping_seconds",
        "Time from a ping of a process to its answer.",
        lambda one: one.ping,
    )


def _add_hosts(page: Exposition, apps: list[AppSnapshot]) -> None:
    def add(
        name: str, what: str, value_of: Callable[[HostSnapshot], float | None], unit: str = ""
    ) -> None:
        values = ((_app(app) | _number(host), value_of(host)) for app, host in _living(apps))
        known = ((labels, value) for labels, value in values if value is not None)
        page.gauges(f"mpkernel_host_{name}", what, known, unit=unit)

    add(
        "resident_memory_bytes",
        "Resident memory of the process and of all that it started.",
        lambda host: host.rss_bytes,
        "bytes",
    )
    add(
        "cpus",
        "Processors that the process and all that it started use; 1 is one at full load.",
        lambda host: host.cpu,
    )
    add("sessions", "Sessions on the process.", lambda host: len(host.sessions))
    add(
        "sessions_running",
        "Those of them that run a command, as far as they say.",
        lambda host: sum(one.is_running for one in host.sessions),
    )
    add("processes", "The process and all that it started.", lambda host: host.processes)
    add("threads", "Threads of the process itself.", lambda host: host.threads)
    add("descriptors", "Open descriptors of the process itself.", lambda host: host.descriptors)
    add(
        "backlog_bytes",
        "Bytes that wait in the server because the process does not take them.",
        lambda host: host.backlog_bytes,
        "bytes",
    )
    add(
        "files_bytes",
        "Bytes that virtual files of the process hold.",
        lambda host: host.files_bytes,
        "bytes",
    )
    page.gauges(
        "mpkernel_host_machine",
        "1; the label says on which machine of the cluster the process runs.",
        [
            (_app(app) | _number(host) | {"machine": _machine_of(host.worker)}, 1)
            for app, host in _living(apps)
            if host.worker
        ],
    )


def _hosts_by_state(apps: list[AppSnapshot]) -> Iterator[tuple[Labels, int]]:
    for app in apps:
        counts = Counter(host.state for host in app.hosts)
        for state in _LIVING:
            yield {**_app(app), "state": state.value}, counts[state.value]


def _deaths_by_reason(totals: list[tuple[Labels, AppTotals]]) -> Iterator[tuple[Labels, int]]:
    """Reasons that have not occurred are included with 0: if a counter first appears with 1,
    monitoring does not see that it grew."""
    for labels, one in totals:
        for reason in Reason:
            yield {**labels, "reason": reason.value}, one.deaths.get(reason.value, 0)


def _living(apps: list[AppSnapshot]) -> Iterator[tuple[AppSnapshot, HostSnapshot]]:
    """The app's processes that have not ended."""
    states = {state.value for state in _LIVING}
    return ((app, host) for app in apps for host in app.hosts if host.state in states)


def _app(app: AppSnapshot) -> dict[str, str]:
    return {"app": app.path}


def _machine_of(worker: str) -> str:
    """The machine's name without the port of the worker. A worker that is started anew has another
    port, and monitoring keeps a series for every value of a label that it has seen."""
    return worker.rpartition("://")[2].rpartition(":")[0]


def _number(host: HostSnapshot) -> dict[str, str]:
    """The process's number as a label. It is not the process id: monitoring keeps a series for
    every value of a label that it has seen, and an app may start one process for each tab."""
    return {"process": str(host.number)}
