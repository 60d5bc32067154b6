"""Where the scheduler places apps: by the resources that they need, on workers that an adaptive
cluster starts for them; and what is left of an app that no longer waits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from dask_backend.machines import machines
from dask_backend.talking import printed
from distributed import Client, LocalCluster
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.server.launching.process import Process, ProcessToLaunch


def apps_in(folder: Path, count: int) -> list[Path]:
    apps = [folder / f"app{number}.py" for number in range(count)]
    for app in apps:
        app.touch()
    return apps


def tasks(dask_scheduler: Any) -> int:
    """How many tasks a scheduler knows."""
    return len(dask_scheduler.tasks)


tasks.__module__ = "__main__"  # so that it is sent whole: the scheduler does not have this file


async def test_an_app_waits_for_a_worker_that_has_what_it_needs() -> None:
    app = Path(__file__)  # the workers have it, too
    settings = Settings(cluster_resources=("GPU=1",), cluster_memory_bytes=1000)
    with machines(1) as cluster:
        async with (
            Client(cluster.address, asynchronous=True, set_as_default=False) as client,
            HostPool(settings, launcher=DaskLauncher(client)) as pool,
        ):
            given_up = asyncio.create_task(PythonClient.open(pool, app))
            await until_async(lambda: [host.worker for host in pool.hosts] == [""])
            async with asyncio.timeout(PATIENCE_S):
                while not await client.run_on_scheduler(tasks):
                    await asyncio.sleep(0.05)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            async with asyncio.timeout(PATIENCE_S):
                while await client.run_on_scheduler(tasks):
                    await asyncio.sleep(0.05)
            opening = asyncio.create_task(PythonClient.open(pool, app))
            await until_async(lambda: [host.is_preparing for host in pool.hosts] == [True])
            assert not opening.done()
            await asyncio.to_thread(cluster.add_worker, "--resources", "GPU=2 MEMORY=1e6")
            async with await opening as kernel:
                assert await printed(kernel, "print(6 * 7)") == "42\n"


class Slow(Client):  # type: ignore[misc]
    """A client whose scheduler takes long to take a plugin.

    Attributes:
        is_asked: set when it was asked to.
        may_take: to be set when it is to take it.
        has_taken: set when it has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_asked, self.may_take, self.has_taken = (asyncio.Event() for _ in range(3))

    async def register_plugin(self, plugin: Any) -> None:
        self.is_asked.set()
        await self.may_take.wait()
        await super().register_plugin(plugin)
        self.has_taken.set()


async def test_what_is_not_needed_any_more_before_the_scheduler_was_told_is_not_submitted() -> None:
    async with (
        LocalCluster(n_workers=0, dashboard_address=None, asynchronous=True) as cluster,
        Slow(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        launcher = DaskLauncher(client)
        given_up = launcher.launch(ProcessToLaunch("given_up.py"))
        await client.is_asked.wait()
        end(given_up)
        client.may_take.set()
        await client.has_taken.wait()
        wanted = launcher.launch(ProcessToLaunch("wanted.py"))
        await until_async(lambda: cluster.scheduler.tasks)
        assert ["wanted" in task for task in cluster.scheduler.tasks] == [True]
        end(wanted)
        await until_async(lambda: not cluster.scheduler.tasks)


def end(process: Process) -> None:
    process.close()
    process.close_console()


async def test_an_adaptive_cluster_grows_by_apps_and_shrinks_without_ending_one(
    tmp_path: Path,
) -> None:
    async with (
        LocalCluster(
            n_workers=0, threads_per_worker=1, dashboard_address=None, asynchronous=True
        ) as cluster,
        Client(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        cluster.adapt(minimum=0, maximum=3, interval="200ms", wait_count=1)

        def workers() -> int:
            return len(cluster.scheduler.workers)

        async with HostPool(Settings(idle_retire_s=0.0), launcher=DaskLauncher(client)) as pool:
            kernels = [await PythonClient.open(pool, app) for app in apps_in(tmp_path, 3)]
            assert workers() == 3
            first = await printed(kernels[0], "import os; print(os.getpid())")
            for kernel in kernels[1:]:
                await kernel.close()
            await until_async(lambda: workers() == 1)
            assert await printed(kernels[0], "print(os.getpid())") == first
            await kernels[0].close()
            await until_async(lambda: workers() == 0)
