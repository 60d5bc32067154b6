"""`dashboard`: a dashboard of Grafana that shows the metrics of servers.

Each panel is one or more queries of Prometheus over the metrics that
`mpkernel.server.operations.metrics` names. Source: Grafana's dashboard JSON model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["VARIABLES", "dashboard", "queries"]

VARIABLES = {
    "server": "label_values(mpkernel_server_leaving, server)",
    "app": 'label_values(mpkernel_sessions{server=~"$server"}, app)',
}
"""What can be chosen at the top of the page, each with the query that gives the choices."""

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_SERVER = 'server=~"$server"'
_APP = 'server=~"$server",app=~"$app"'
_COLUMNS = 24
_STALE_S = 60


class _Panel(NamedTuple):
    """A panel.

    Attributes:
        title: its head.
        queries: by the legend of what each gives; `{{label}}` stands for a label's value.
        unit: Grafana's name for the unit of the numbers.
        about: what it shows, where the head does not say enough.
        is_number: whether it shows the latest number alone, not a curve.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    about: str = ""
    is_number: bool = False


def _number(title: str, query: str, about: str) -> _Panel:
    return _Panel(title, {"": query}, about=about, is_number=True)


def _by_app(metric: str) -> dict[str, str]:
    return {"{{app}}": f"sum by (app) ({metric}{{{_APP}}})"}


def _by_process(metric: str) -> dict[str, str]:
    return {"{{app}} {{process}}": f"sum by (app, process) ({metric}{{{_APP}}})"}


def _rate(metric: str) -> str:
    return f"sum(rate({metric}{{{_APP}}}[$__rate_interval]))"


def _quantiles(metric: str) -> dict[str, str]:
    buckets = f"sum by (le) (rate({metric}_bucket{{{_APP}}}[$__rate_interval]))"
    return {
        f"{100 * quantile:g} %": f"histogram_quantile({quantile:g}, {buckets})"
        for quantile in (0.5, 0.9, 0.99)
    }


_ROWS = {
    "Now": [
        _number(
            "Servers",
            f"count(time() - mpkernel_server_written_timestamp_seconds{{{_SERVER}}} < {_STALE_S})"
            " or vector(0)",
            f"Servers that wrote their metrics in the last {_STALE_S} seconds.",
        ),
        _number("Sessions", f"sum(mpkernel_sessions{{{_APP}}})", "Sessions that are open."),
        _number(
            "Running",
            f"sum(mpkernel_sessions_running{{{_APP}}})",
            "Sessions whose kernels run a command.",
        ),
        _number(
            "Waiting",
            f"sum(mpkernel_sessions_waiting{{{_APP}}})",
            "Sessions that wait for a process. If it stays over 0, see `mpkernel status`.",
        ),
        _number(
            "Failed apps",
            f"sum(mpkernel_app_failed{{{_APP}}})",
            "Apps that died too often, and are not started for a while.",
        ),
        _number(
            "Deaths in an hour",
            f"sum(increase(mpkernel_host_deaths_total{{{_APP}}}[1h]))",
            "Processes of apps that died; `mpkernel crashes` tells why.",
        ),
    ],
    "Apps": [
        _Panel("Sessions", _by_app("mpkernel_sessions")),
        _Panel("Sessions that run a command", _by_app("mpkernel_sessions_running")),
        _Panel("Memory", _by_app("mpkernel_host_resident_memory_bytes"), "bytes"),
        _Panel("Processors", _by_app("mpkernel_host_cpus"), about="1 is one at full load."),
        _Panel(
            "Processes by state",
            {
                "{{state}}": f"sum by (state) (mpkernel_hosts{{{_APP}}})",
                "without a worker": f"sum(mpkernel_hosts_without_worker{{{_APP}}})",
            },
            about="Those without a worker wait until the cluster has room for them.",
        ),
        _Panel(
            "Deaths by reason",
            {
                "{{reason}}": "sum by (reason)"
                f" (increase(mpkernel_host_deaths_total{{{_APP}}}[$__rate_interval]))"
            },
        ),
    ],
    "Traffic": [
        _Panel(
            "Messages",
            {
                "from processes": _rate("mpkernel_host_messages_total"),
                "to processes": _rate("mpkernel_host_messages_sent_total"),
            },
            "cps",
        ),
        _Panel(
            "Bytes of kernels",
            {
                "output": _rate("mpkernel_kernel_output_bytes_total"),
                "input": _rate("mpkernel_kernel_input_bytes_total"),
            },
            "Bps",
        ),
        _Panel("Bytes that wait", _by_app("mpkernel_host_backlog_bytes"), "bytes"),
    ],
    "Times": [
        _Panel("Start of a process", _quantiles("mpkernel_host_start_seconds"), "s"),
        _Panel("Start of a session", _quantiles("mpkernel_session_start_seconds"), "s"),
        _Panel("Answer to a ping", _quantiles("mpkernel_host_ping_seconds"), "s"),
    ],
    "Processes": [
        _Panel("Memory", _by_process("mpkernel_host_resident_memory_bytes"), "bytes"),
        _Panel("Threads", _by_process("mpkernel_host_threads")),
        _Panel("Open descriptors", _by_process("mpkernel_host_descriptors")),
    ],
    "Servers": [
        _Panel(
            "Memory without the apps",
            {"{{server}}": f"mpkernel_server_resident_memory_bytes{{{_SERVER}}}"},
            "bytes",
        ),
        _Panel(
            "Virtual files",
            {"{{server}}": f"mpkernel_files_bytes{{{_SERVER}}}"},
            "bytes",
        ),
        _Panel(
            "Processes that stand by",
            {"{{server}}": f"mpkernel_standby_processes{{{_SERVER}}}"},
        ),
    ],
}


def queries() -> Iterator[str]:
    """Every query of the dashboard, with its variables as they stand there."""
    for panels in _ROWS.values():
        for panel in panels:
            yield from panel.queries.values()


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    return {
        "title": "mpkernel",
        "uid": "mpkernel",
        "tags": ["mpkernel"],
        "description": "Servers of notebooks and apps, from the files of --metrics-file.",
        "editable": True,
        "schemaVersion": 37,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), *map(_variable, VARIABLES)]},
        "panels": list(_panels()),
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": VARIABLES[name], "refId": name},
        "refresh": 2,  # whenever the time range changes: apps come and go
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[dict[str, Any]]:
    ids = itertools.count(1)
    top = 0
    for title, panels in _ROWS.items():
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        in_a_line, height = (len(panels), 4) if panels[0].is_number else (3, 8)
        width = _COLUMNS // in_a_line
        for index, panel in enumerate(panels):
            line, column = divmod(index, in_a_line)
            place = {"x": column * width, "y": top + line * height, "w": width, "h": height}
            yield _panel(panel, next(ids), place)
        top += -(-len(panels) // in_a_line) * height


def _panel(panel: _Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend or "__auto",
                "instant": panel.is_number,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
