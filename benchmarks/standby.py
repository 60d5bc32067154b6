"""How long the first tab of an app takes whose process does not run, by who has to start it.

    python -m benchmarks.standby [--rounds 10] [--pause 2]

Three servers side by side: mpkernel with a standby process, mpkernel without, marimo's own app
hosts (over ZeroMQ). In each round each of them, in changing order, opens the first tab of one more
notebook: from the WebSocket's connection to the end of its first run. Before each is a pause, for
all three alike, in which a standby warms up. Milliseconds, and their ratios to marimo's of the same
round; the client shares the machine's cores with the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from e2e.harness import NOTEBOOKS, Server, Tab, http_client

MARIMO = (sys.executable, "-m", "marimo", "run")
ISOLATE = "[tool.marimo.experimental]\nisolate_apps = true\n"

WITH, WITHOUT, THEIRS = "mpkernel, standby", "mpkernel, --standby 0", "marimo's own hosts"


async def main(rounds: int, pause_s: float) -> None:
    """Measure and print the table."""
    taken_s: dict[str, list[float]] = {WITH: [], WITHOUT: [], THEIRS: []}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "pyproject.toml").write_text(ISOLATE)
        for number in range(rounds):
            shutil.copy(NOTEBOOKS / "slider.py", folder / f"app{number}.py")
        servers = {
            WITH: Server(folder, cwd=folder),
            WITHOUT: Server(folder, cwd=folder, options=("--standby", "0")),
            THEIRS: Server(folder, cwd=folder, program=MARIMO, env={"MPKERNEL_DISABLE": "1"}),
        }
        for server in servers.values():
            await stack.enter_async_context(server)
        for number in range(rounds):
            for name in random.sample(list(servers), len(servers)):
                await asyncio.sleep(pause_s)
                file = str(folder / f"app{number}.py")
                taken_s[name].append(await _first_tab_s(servers[name], file))
    print(
        f"{'first tab of an app':24}{'median':>8}{'min':>8}{'max':>8}   {'ratio':>6}{'spread':>13}"
    )
    for name, values in taken_s.items():
        ratios = [value / theirs for value, theirs in zip(values, taken_s[THEIRS], strict=True)]
        milliseconds = [f"{1000 * f(values):8.0f}" for f in (statistics.median, min, max)]
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        print(f"{name:24}{''.join(milliseconds)}   {statistics.median(ratios):6.2f}{spread:>13}")


async def _first_tab_s(server: Server, file: str) -> float:
    async with http_client() as client:
        tab = await Tab(server.url, file, client=client).load()
        began = time.perf_counter()
        async with tab:
            await tab.wait_until_run()
            return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="tabs of each server (default 10)")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two (default 2)")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rounds, chosen.pause))
