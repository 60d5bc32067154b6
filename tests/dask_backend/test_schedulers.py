"""What a scheduler does by itself to apps that run: it starts their tasks a second time, and it
dies, where all connections are encrypted."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from dask_backend.certificates import certified
from dask_backend.machines import Machines, left_on, machines, outposts_of
from dask_backend.talking import printed, said
from dask_backend.test_faults import SETTINGS, a_session, app
from descendants import has_ended
from distributed import Client
from waiting import until, until_async

from mpkernel import HostPool
from mpkernel.dask_backend.launcher import DaskLauncher, launcher_of
from mpkernel.kernel.messages import Restarted

__all__ = ["app"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the workers have, too."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as path:
        yield Path(path)


def leases(dask_scheduler: Any) -> dict[str, str]:
    """The worker of each task that runs, by the task's key."""
    tasks = dask_scheduler.tasks.values()
    return {one.key: one.processing_on.address for one in tasks if one.processing_on is not None}


leases.__module__ = "__main__"  # so that it is sent whole: the scheduler does not have this file


def outposts(cluster: Machines) -> list[psutil.Process]:
    return [outpost for nanny in cluster.nannies for outpost in outposts_of(nanny)]


async def test_a_task_that_the_scheduler_starts_a_second_time_starts_no_second_process(
    app: Path,
) -> None:
    with machines(2) as cluster, Client(cluster.address, set_as_default=False) as client:
        async with (
            HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool,
            a_session(pool, app) as (kernel, place),
        ):
            [(key, worker)] = client.run_on_scheduler(leases).items()
            place.worker.kill()
            # The server's loop stands still meanwhile, so that it does not cancel the task.
            until(lambda: client.run_on_scheduler(leases).get(key, worker) != worker)
            await said(kernel, Restarted)
            assert await printed(kernel, "print(x)") == "7\n"
            await until_async(lambda: key not in client.run_on_scheduler(leases))
            await until_async(place.is_gone)
            assert len(outposts(cluster)) == 1
            assert len(client.run_on_scheduler(leases)) == 1
        await until_async(lambda: not left_on(cluster.nannies))


async def test_encrypted_apps_end_with_their_scheduler_and_come_back_with_the_next(
    app: Path, folder: Path
) -> None:
    files = certified(folder)
    named = {f"distributed.comm.tls.{key}": path for key, path in files.items()}
    encrypted = ["--protocol", "tls"]
    for option, key in (("ca-file", "ca-file"), ("cert", "worker.cert"), ("key", "worker.key")):
        encrypted += [f"--tls-{option}", files[key]]
    with dask.config.set(named), machines(1, options=encrypted) as cluster:
        [nanny] = cluster.nannies
        async with (
            HostPool(SETTINGS, launcher=launcher_of(cluster.address)) as pool,
            a_session(pool, app) as (kernel, place),
        ):
            assert cluster.address.startswith("tls://")
            cluster.scheduler.kill()
            await until_async(lambda: has_ended(nanny))
            await until_async(place.is_gone)
            await asyncio.to_thread(cluster.restart_scheduler)
            cluster.nannies.append(await asyncio.to_thread(cluster.add_worker))
            await said(kernel, Restarted)
            assert await printed(kernel, "print(x)") == "7\n"
