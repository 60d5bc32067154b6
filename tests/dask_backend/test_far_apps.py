"""Apps of a pool on a cluster run on its workers, and come back when one of these is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dask_backend.clusters import a_cluster, share
from dask_backend.talking import printed, said
from descendants import has_ended
from distributed import Client
from waiting import PATIENCE_S

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.kernel.messages import Done, Restarted
from mpkernel.server.supervision.deaths import Reason


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with a_cluster(2) as client:
        yield client


@pytest.fixture
async def pool(client: Client) -> AsyncIterator[HostPool]:
    async with HostPool(launcher=DaskLauncher(client)) as pool:
        yield pool


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("x = 1\n")
    return path


def workers(client: Client) -> dict[str, int]:
    """The process id of each worker, by its address."""
    found: dict[str, int] = client.run(os.getpid)
    return found


async def test_an_app_runs_below_a_worker_and_is_measured_there(
    pool: HostPool, client: Client, app: Path
) -> None:
    async with await PythonClient.open(pool, app) as kernel:
        pid = int(await printed(kernel, "import os; print(os.getpid())"))
        parents = {one.pid for one in psutil.Process(pid).parents()}
        assert parents & set(workers(client).values())
        [host] = pool.hosts
        async with asyncio.timeout(PATIENCE_S):
            while not host.usages:
                await asyncio.sleep(0.05)
        assert host.usages[-1].rss_bytes > 2**20
    assert pool.standby.pids == []


async def test_what_an_app_started_is_gone_when_the_pool_is_closed(
    client: Client, app: Path
) -> None:
    async with (
        HostPool(launcher=DaskLauncher(client)) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
        child = psutil.Process(int(await printed(kernel, code)))
    assert has_ended(child)


async def test_a_session_comes_back_on_another_worker_when_its_own_is_killed(
    pool: HostPool, client: Client, app: Path
) -> None:
    async with await PythonClient.open(pool, app) as kernel:
        kernel.run_app()
        await said(kernel, Done)
        kernel.set_values({"x": 7})
        parent = int(await printed(kernel, "import os; print(os.getppid())"))
        above = {one.pid for one in psutil.Process(parent).parents()}
        [worker] = above & set(workers(client).values())
        os.kill(worker, signal.SIGKILL)
        await said(kernel, Restarted)
        [its_app] = pool.apps
        assert its_app.last_death is not None
        assert its_app.last_death.reason is Reason.LOST
        assert f"is lost with its worker {its_app.last_death.worker} (" in its_app.last_death.what
        assert await printed(kernel, "print(x)") == "7\n"
        share(client)
        async with asyncio.timeout(PATIENCE_S):
            while psutil.pid_exists(parent):
                await asyncio.sleep(0.05)


async def test_a_standby_that_was_asked_for_is_not_kept_and_the_log_says_so(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mpkernel")
    async with HostPool(Settings(standby=2), launcher=DaskLauncher(client)) as pool:
        assert pool.standby.pids == []
    assert "standby=2 has no effect: no process waits on the workers of a cluster" in caplog.text


async def test_the_scheduler_forgets_a_process_that_has_ended(client: Client, app: Path) -> None:
    async with (
        HostPool(Settings(standby=1), launcher=DaskLauncher(client)) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        await printed(kernel, "print(1)")
        assert len(client.run_on_scheduler(tasks)) == 1
        assert pool.standby.pids == []
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(client.run_on_scheduler, tasks):
            await asyncio.sleep(0.05)


def tasks(dask_scheduler: Any) -> list[str]:
    """The tasks that a scheduler knows."""
    return list(dask_scheduler.tasks)


async def test_a_cluster_on_this_machine_begins_and_ends_with_the_pool(app: Path) -> None:
    async with (
        HostPool(Settings(cluster="local:1")) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        assert await printed(kernel, "print(6 * 7)") == "42\n"
        [host] = pool.hosts
        assert host.worker is not None
        assert host.worker.startswith("tcp://127.0.0.1:")
