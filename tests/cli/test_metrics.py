"""The metrics of a running server in real monitoring: Prometheus' linter, and each query of the
dashboard in a Prometheus that scrapes a node exporter's textfile collector."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from e2e.harness import NOTEBOOKS, Server, Tab, free_port, http_client
from waiting import PATIENCE_S

from mpkernel.cli import grafana
from mpkernel.cli.main import main

SCRAPED = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: node
  static_configs: [targets: ["127.0.0.1:{port}"]]
"""


@contextlib.asynccontextmanager
async def started(*command: str) -> AsyncIterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def prometheus_over(metrics: Path, folder: Path) -> AsyncIterator[str]:
    """The URL of a Prometheus that reads the files of a folder every second."""
    exporter, own = free_port(), free_port()
    scraped = folder / "prometheus.yml"
    scraped.write_text(SCRAPED.format(port=exporter))
    async with (
        started(
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={metrics}",
            f"--web.listen-address=127.0.0.1:{exporter}",
        ),
        started(
            "prometheus",
            f"--config.file={scraped}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ),
    ):
        yield f"http://127.0.0.1:{own}"


async def found(client: httpx.AsyncClient, url: str, query: str) -> list[Any]:
    """What a query gives, as soon as it gives something."""
    for variable in grafana.VARIABLES:
        query = query.replace(f"${variable}", ".*")
    query = query.replace("$__rate_interval", "1m")
    assert "$" not in query
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                answer = await client.get(f"{url}/api/v1/query", params={"query": query})
            except httpx.TransportError:  # it does not listen yet
                await asyncio.sleep(0.05)
                continue
            said = answer.json()
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                assert said["status"] == "success", f"{query}: {said}"
                if result := said["data"]["result"]:
                    assert isinstance(result, list)
                    return result
            await asyncio.sleep(0.2)


async def test_prometheus_and_the_dashboard_read_the_metrics_of_a_server(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    file = metrics / "notebooks.prom"
    options = ("--metrics-file", str(file), "--metrics-interval-s", "0.5")
    async with (
        Server(NOTEBOOKS / "slider.py", options=options) as server,
        Tab(server.url) as tab,
        prometheus_over(metrics, tmp_path) as url,
        http_client() as client,
    ):
        await tab.wait_for("in process")
        found_apps = await found(client, url, "mpkernel_sessions == 1")
        assert [one["metric"]["app"] for one in found_apps] == [str(NOTEBOOKS / "slider.py")]
        said = subprocess.run(
            ["promtool", "check", "metrics"],
            input=file.read_text(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (said.returncode, said.stdout + said.stderr) == (0, "")
        for query in grafana.queries():
            await found(client, url, query)
        for choices in grafana.VARIABLES.values():
            [(selector, label)] = re.findall(r"^label_values\((.*), (\w+)\)$", choices)
            assert all(label in one["metric"] for one in await found(client, url, selector))


def test_the_dashboard_is_whole(capsys: Any) -> None:
    assert main(["metrics", "--grafana"]) == 0
    made = json.loads(capsys.readouterr().out)
    panels = made["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    taken = {
        (column, line)
        for place in places
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    }
    assert len(taken) == sum(place["w"] * place["h"] for place in places)  # none over another
    assert max(column for column, _ in taken) < 24
    shown = [query["expr"] for panel in panels for query in panel.get("targets", ())]
    assert shown == list(grafana.queries())
