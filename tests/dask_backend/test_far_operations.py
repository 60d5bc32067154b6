"""What an operator sees and orders of processes on workers, and what the watchdog does about them.
Each of the two workers has room for one process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from dask_backend.clusters import a_cluster
from dask_backend.test_far_apps import printed, said, workers
from distributed import Client
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.kernel.messages import Console, Done, Restarted
from mpkernel.server.hosts.lifecycle import State
from mpkernel.server.operations.obeying import drain, no_such_process, restart
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.server.supervision.deaths import Death, Reason

OWN_PID = "import os; print(os.getpid())"
FAST = {"watch_interval_s": 0.1, "idle_retire_s": 0.0}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with a_cluster(2, threads=1) as client:
        yield client


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("x = 1\n")
    return path


@asynccontextmanager
async def a_pool(client: Client, **settings: Any) -> AsyncIterator[HostPool]:
    async with HostPool(Settings(**FAST, **settings), launcher=DaskLauncher(client)) as pool:
        yield pool


def died(pool: HostPool) -> Death:
    """How the last process of the only app ended."""
    [app] = pool.apps
    assert app.last_death is not None
    return app.last_death


async def back(kernel: PythonClient) -> None:
    """Wait until the session is on another process."""
    await said(kernel, Restarted)
    assert await printed(kernel, "print(2 * 21)") == "42\n"


async def test_processes_of_an_app_are_spread_over_the_workers_and_one_more_waits(
    client: Client, app: Path
) -> None:
    async with (
        a_pool(client, processes_max=3, sessions_per_process=1) as pool,
        await PythonClient.open(pool, app) as first,
        await PythonClient.open(pool, app) as second,
    ):
        third = asyncio.create_task(PythonClient.open(pool, app))
        await until_async(lambda: len(pool.hosts) == 3)
        [shown] = (await snapshot_of(pool, Rates())).apps
        on = {host.worker: host for host in shown.hosts}
        assert on.keys() == {*workers(client), ""}
        assert (on[""].state, on[""].pid_on_worker) == ("starting", None)
        theirs = {int(await printed(one, OWN_PID)) for one in (first, second)}
        assert {host.pid_on_worker for host in shown.hosts} == {*theirs, None}
        assert len({host.pid for host in shown.hosts} - theirs) == 3
        await first.close()
        async with asyncio.timeout(PATIENCE_S), await third as kernel:
            assert int(await printed(kernel, OWN_PID)) not in theirs
            assert {host.worker for host in pool.hosts} == workers(client).keys()


async def test_a_process_that_uses_too_much_memory_there_is_ended_and_its_session_comes_back(
    client: Client, app: Path
) -> None:
    async with (
        a_pool(client, memory_hard_bytes=300 * 2**20) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        kernel.execute("hoard = b'x' * 400 * 2**20", cell="greedy")
        await back(kernel)
        assert died(pool).reason is Reason.LIMIT
        assert "memory_hard_bytes is 300 MiB" in died(pool).what


async def test_a_process_that_is_stopped_there_is_ended_and_its_session_comes_back(
    client: Client, app: Path
) -> None:
    async with (
        a_pool(client, ping_interval_s=0.1, ping_timeout_s=1.0) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        [host] = pool.hosts
        assert host.pid_on_worker is not None
        os.kill(host.pid_on_worker, signal.SIGSTOP)
        await back(kernel)
        assert (died(pool).reason, died(pool).pid_on_worker) == (Reason.HANG, host.pid_on_worker)


async def test_a_process_that_is_over_a_soft_limit_there_takes_no_more_sessions(
    client: Client, app: Path
) -> None:
    async with (
        a_pool(client, memory_soft_bytes=2**20, max_threads=1) as pool,
        await PythonClient.open(pool, app),
    ):
        [host] = pool.hosts
        await until_async(lambda: host.state is State.DRAINING)
        assert "memory_soft_bytes" in str(host.refusal)


async def test_of_a_crash_there_is_known_what_ran_and_what_was_written_last(
    client: Client, app: Path
) -> None:
    code = "import ctypes, os; os.write(2, b'about to draw\\n'); ctypes.string_at(0)"
    async with a_pool(client) as pool, await PythonClient.open(pool, app) as kernel:
        [host] = pool.hosts
        kernel.execute(code, cell="drawing")
        await back(kernel)
        death = died(pool)
        assert (death.reason, death.pid) == (Reason.CRASH, host.pid)
        assert (death.worker, death.pid_on_worker) == (host.worker, host.pid_on_worker)
        assert "Segmentation fault" in death.faults
        assert "string_at" in death.faults
        assert "about to draw" in death.last_lines


async def test_what_runs_there_can_be_interrupted(client: Client, app: Path) -> None:
    async with a_pool(client) as pool, await PythonClient.open(pool, app) as kernel:
        kernel.execute("import time\nprint('begun')\ntime.sleep(600)", cell="long")
        await said(kernel, Console, "long")
        kernel.interrupt()
        [*_, done] = await said(kernel, Done, "long")
        assert isinstance(done, Done)
        assert done.outcome == "interrupted"


async def test_orders_name_a_process_by_the_number_of_the_server(client: Client, app: Path) -> None:
    async with a_pool(client) as pool, await PythonClient.open(pool, app) as kernel:
        [its_app] = pool.apps
        [host] = pool.hosts
        assert host.pid_on_worker is not None
        assert not psutil.pid_exists(host.pid)
        refused = no_such_process(its_app, host.pid_on_worker)
        assert refused.endswith(f"on worker {host.worker}, here it is process {host.pid}")
        assert restart(its_app, host.pid, rolling=False).done
        await back(kernel)
        assert died(pool).reason is Reason.OPERATOR


async def test_a_rolling_restart_has_a_fresh_process_there_before_the_old_one_ends(
    client: Client, app: Path
) -> None:
    async with a_pool(client) as pool, await PythonClient.open(pool, app) as kernel:
        [its_app] = pool.apps
        [old] = pool.hosts
        assert restart(its_app, None, rolling=True).done
        await back(kernel)
        async with asyncio.timeout(PATIENCE_S):
            await old.wait_over()
        [new] = pool.hosts
        assert new.worker != old.worker  # which had no room beside the old process


async def test_a_drained_process_there_ends_with_its_last_session_and_new_ones_get_another(
    client: Client, app: Path
) -> None:
    async with a_pool(client) as pool, await PythonClient.open(pool, app) as kernel:
        [its_app] = pool.apps
        [old] = pool.hosts
        assert drain(its_app, old.pid).done
        async with await PythonClient.open(pool, app):
            assert await printed(kernel, "print('still here')") == "still here\n"
            assert {host.worker for host in pool.hosts} == workers(client).keys()
            await kernel.close()
            async with asyncio.timeout(PATIENCE_S):
                await old.wait_over()
            assert old not in pool.hosts
