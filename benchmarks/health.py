"""How long `GET /health` takes while cold apps start, beside an idle control run.

    python -m benchmarks.health [--apps 6] [--seconds 8]

Three servers after one another, the same work each: mpkernel idle, mpkernel while it starts one
cold app after another, and marimo's own app hosts (over ZeroMQ) while they start the same. A tab
of an app that runs already has its slider moved all the while; its round trips are told too.
Milliseconds; the client shares the machine's cores with the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from e2e.harness import NOTEBOOKS, Server, Tab

MARIMO = (sys.executable, "-m", "marimo", "run")
ISOLATE = "[tool.marimo.experimental]\nisolate_apps = true\n"


class Latencies:
    """Seconds, by what took them."""

    def __init__(self) -> None:
        self.health: list[float] = []
        self.slider: list[float] = []
        self.first_tab: list[float] = []

    def row(self, name: str) -> str:
        return f"{name:28}" + "".join(
            f"{figure:>10}"
            for figure in (
                *figures(self.health, (50, 99, 99.9)),
                *figures(self.slider, (50,)),
                *figures(self.first_tab, (50,)),
            )
        )


HEADER = f"{'':28}{'/health p50':>10}{'p99':>9}{'p99.9':>10}{'max':>10}{'slider':>10}{'max':>10}"
HEADER += f"{'first tab':>10}{'max':>9}"


async def main(apps: int, seconds: float) -> None:
    """Measure and print the table."""
    print(HEADER)
    for name, program, starts in (
        ("mpkernel, idle", None, False),
        ("mpkernel, cold starts", None, True),
        ("marimo's hosts, cold starts", MARIMO, True),
    ):
        latencies = await _measure(program, apps if starts else 0, seconds)
        print(latencies.row(name), flush=True)


async def _measure(program: tuple[str, ...] | None, apps: int, seconds: float) -> Latencies:
    latencies = Latencies()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "pyproject.toml").write_text(ISOLATE)
        for number in range(apps + 1):
            shutil.copy(NOTEBOOKS / "slider.py", folder / f"app{number}.py")
        options = {} if program is None else {"program": program, "env": {"MPKERNEL_DISABLE": "1"}}
        async with (
            Server(folder, cwd=folder, **options) as server,
            Tab(server.url, str(folder / "app0.py")) as tab,
        ):
            await tab.wait_until_run()
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(poll_health(server.port, latencies, over))
                group.create_task(move_slider(tab, latencies, over))
                await _open_apps(server, folder, apps, seconds, latencies)
                over.set()
    return latencies


async def _open_apps(
    server: Server, folder: Path, apps: int, seconds: float, latencies: Latencies
) -> None:
    end = time.perf_counter() + seconds
    for number in range(1, apps + 1):
        began = time.perf_counter()
        async with Tab(server.url, str(folder / f"app{number}.py")) as tab:
            await tab.wait_until_run()
            latencies.first_tab.append(time.perf_counter() - began)
    await asyncio.sleep(max(0.0, end - time.perf_counter()))


async def move_slider(tab: Tab, latencies: Latencies, over: asyncio.Event) -> None:
    value = 1
    while not over.is_set():
        value += 1
        began = time.perf_counter()
        await tab.set_ui("Number", value)
        await tab.wait_for(f"number {value} squared")
        latencies.slider.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)


async def poll_health(port: int, latencies: Latencies, over: asyncio.Event) -> None:
    """Over a bare socket: an HTTP client's own work would be in the figures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    while not over.is_set():
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        latencies.health.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()


def figures(values: list[float], percentiles: tuple[float, ...]) -> list[str]:
    if len(values) < 2:
        return ["-"] * (len(percentiles) + 1)
    cuts = statistics.quantiles(values, n=1000, method="inclusive")
    chosen = [cuts[round(percentile * 10) - 1] for percentile in percentiles]
    return [f"{1000 * value:.1f}" for value in (*chosen, max(values))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apps", type=int, default=6, help="cold apps to start (default 6)")
    parser.add_argument("--seconds", type=float, default=8, help="least duration (default 8)")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.apps, chosen.seconds))
