"""How soon the tabs of a killed app show their values again, and what others notice of it.

    python -m benchmarks.recovery [--tabs 10] [--apps 4]

A real marimo server with mpkernel. Each app in turn is killed (SIGKILL), once, for a second death
within a minute is followed by a wait. Its tabs stand at values of their own; a recovery lasts from
the kill until the last tab's kernel has run again.
Meanwhile `GET /health` is asked and the slider of another app's tab is moved, beside the same with
nobody killed. Milliseconds; the client shares the machine's cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from e2e.harness import NOTEBOOKS, Server, Tab

from benchmarks.health import HEADER, Latencies, move_slider, poll_health

_BETWEEN_KILLS_S = 3.0  # a new standby is warm by then


async def main(apps: int, tabs: int) -> None:
    """Measure and print the tables."""
    print(HEADER)
    recoveries: list[float] = []
    for name, kills in (("nobody killed", False), (f"{apps} kills", True)):
        latencies = Latencies()
        recoveries += await _measure(latencies, apps, tabs, kills=kills)
        print(latencies.row(name), flush=True)
    median, least, most = statistics.median(recoveries), min(recoveries), max(recoveries)
    print(f"\nSIGKILL until the last of {tabs} tabs has run again: median {1000 * median:.0f},")
    print(f"least {1000 * least:.0f}, most {1000 * most:.0f} ms, of {len(recoveries)}")


async def _measure(latencies: Latencies, apps: int, tabs: int, *, kills: bool) -> list[float]:
    recoveries = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for number in range(apps + 1):
            shutil.copy(NOTEBOOKS / "slider.py", folder / f"app{number}.py")
        async with Server(folder, cwd=folder) as server:
            other = await Tab(server.url, str(folder / "app0.py")).open()
            await other.wait_until_run()
            victims = {
                number: await _opened(server, folder / f"app{number}.py", tabs)
                for number in range(1, apps + 1)
            }
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(poll_health(server.port, latencies, over))
                group.create_task(move_slider(other, latencies, over))
                for tabs_of in victims.values():
                    await asyncio.sleep(_BETWEEN_KILLS_S)
                    if kills:
                        recoveries.append(await _killed(tabs_of))
                over.set()
            for tab in (other, *itertools.chain.from_iterable(victims.values())):
                await tab.__aexit__(None, None, None)
    return recoveries


async def _opened(server: Server, app: Path, count: int) -> list[Tab]:
    tabs = []
    for number in range(count):
        tab = await Tab(server.url, str(app)).open()
        await tab.wait_until_run()
        await tab.set_ui("Number", number + 1)
        await tab.wait_for(f"number {number + 1} squared")
        tabs.append(tab)
    return tabs


async def _killed(tabs: list[Tab]) -> float:
    """Kill the process that these tabs are on; seconds until they all have run again."""
    runs = [tab.completed_runs for tab in tabs]
    pid = _pid_of(tabs[0])
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    for tab, before in zip(tabs, runs, strict=True):
        await tab.wait_until_run(before + 1)
    took = time.perf_counter() - began
    for number, tab in enumerate(tabs, 1):
        assert f"number {number} squared" in tab.text, tab.text
    return took


def _pid_of(tab: Tab) -> int:
    return int(tab.text.split("in process")[1].split()[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apps", type=int, default=4, help="apps to kill in turn (default 4)")
    parser.add_argument("--tabs", type=int, default=10, help="tabs of each (default 10)")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.apps, chosen.tabs))
