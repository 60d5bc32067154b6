"""Random faults of apps and of the workers that they run on: no tab is lost and none waits, and
nothing is left on any machine.

20 seconds by default; for longer:

    MPKERNEL_TEST_CHAOS_S=600 python -m pytest -s -o faulthandler_timeout=0 \
        tests/e2e/test_cluster_chaos.py

`MPKERNEL_TEST_CHAOS_SEED` repeats a run's choices. Each app has its faults one after the other, and
so do the workers, all at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dask_backend.apart import shared_folder
from dask_backend.machines import left_on, machines
from e2e.chaos import ChaoticApp
from e2e.chaos_runs import NOTEBOOK, SEED, settled, what_is_left
from e2e.cluster_chaos import ChaoticCluster
from e2e.harness import Server

WORKERS = 3
APPS = 3
SPREAD = """
[[tool.mpkernel.apps]]
path = "app2.py"
processes_max = 3
sessions_per_process = 2
"""
SECONDS = float(os.environ.get("MPKERNEL_TEST_CHAOS_S", "20"))


@pytest.mark.timeout(SECONDS + 600)
async def test_no_tab_is_lost_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"MPKERNEL_TEST_CHAOS_SEED={SEED}")
    with shared_folder() as folder, machines(WORKERS) as cluster:
        for number in range(APPS):
            shutil.copy(NOTEBOOK, folder / f"app{number}.py")
        (folder / "pyproject.toml").write_text(SPREAD)
        (folder / "run").mkdir(mode=0o700)
        # Of the test too, which looks there for the server's control socket.
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        env = {
            "MPKERNEL_CLUSTER": cluster.address,
            "MPKERNEL_CLUSTER_SILENCE_S": "5",
            "XDG_STATE_HOME": str(folder / "state"),
        }
        async with Server(folder, cwd=folder, options=("--session-ttl", "5"), env=env) as server:
            descriptors = psutil.Process(server.pid).num_fds()
            workers = ChaoticCluster(cluster, SEED)
            apps = [
                ChaoticApp(folder / f"app{number}.py", server, SEED + number, cluster)
                for number in range(APPS)
            ]
            for app in apps:
                await app.open()
            end = time.monotonic() + SECONDS
            try:
                async with asyncio.TaskGroup() as group:
                    for suffering in (*apps, workers):
                        group.create_task(suffering.suffer(end))
            except BaseException as error:
                error.add_note(f"workers: {workers.faults[-20:]}")
                error.add_note("\n".join(deaths(folder / "state")))
                raise
            print(Counter(workers.faults), Counter(fault for app in apps for fault in app.faults))
            for one in (*apps, workers):
                await one.check()
            for app in apps:
                await app.close()
            await settled(lambda: left_on(cluster.nannies))
            await settled(lambda: what_is_left(server, descriptors))


def deaths(state: Path) -> Iterator[str]:
    """The last deaths of apps' processes, for a reader who wants to know what went wrong."""
    for report in sorted(state.rglob("crashes/*.json")):
        told = json.loads(report.read_text())
        running = [one["session_id"] for one in told["sessions"] if one["was_running"]]
        yield f"{report.name[9:20]} {told['pid']} {told['reason']}: {told['what']} {running}"
