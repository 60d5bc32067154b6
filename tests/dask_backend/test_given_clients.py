"""What holds for a pool whose client of Dask, which it was given, is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from dask_backend.machines import Machines, left_on, machines
from dask_backend.talking import printed
from dask_backend.test_faults import SETTINGS, a_session, app
from distributed import Client
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.errors import ClusterError

__all__ = ["app"]


@pytest.fixture
def other(app: Path) -> Iterator[Path]:
    """Another app."""
    path = app.with_name(f"other_{app.name}")
    path.touch()
    yield path
    path.unlink()


@pytest.mark.parametrize("ending", ["close", "close in a thread", "no scheduler"])
async def test_apps_go_on_without_the_client_and_no_other_is_launched(
    app: Path, other: Path, ending: str
) -> None:
    with machines(1) as cluster, dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        client = await connected(cluster, ending)
        async with (
            HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool,
            a_session(pool, app) as (kernel, place),
        ):
            await end(client, cluster, ending)
            assert await printed(kernel, "print(x, os.getpid())") == f"7 {place.host.pid}\n"
            for _ in range(2):
                async with asyncio.timeout(PATIENCE_S):
                    with pytest.raises(ClusterError, match="another pool with a new client"):
                        await PythonClient.open(pool, other)
        await until_async(place.is_gone)
        nannies = [] if ending == "no scheduler" else cluster.nannies
        await until_async(lambda: not left_on(nannies))


@pytest.mark.parametrize("ending", ["close", "close in a thread", "no scheduler"])
async def test_an_app_that_waits_for_a_worker_is_told_that_its_client_is_gone(
    other: Path, ending: str
) -> None:
    with machines(0) as cluster, dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        client = await connected(cluster, ending)
        async with HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool:
            opening = asyncio.create_task(PythonClient.open(pool, other))
            await until_async(lambda: bool(client.futures))
            await end(client, cluster, ending)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(ClusterError, match=f"the scheduler {cluster.address} "):
                    await opening


async def test_a_client_that_still_connects_is_waited_for(app: Path) -> None:
    with machines(1) as cluster:
        client = Client(cluster.address, asynchronous=True, set_as_default=False)
        assert client.status != "running"
        async with (
            HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool,
            a_session(pool, app) as (kernel, _),
        ):
            assert await printed(kernel, "print(x)") == "7\n"
        await client.close()


async def test_a_client_that_cannot_connect_is_refused(other: Path) -> None:
    client = Client("tcp://127.0.0.1:9", asynchronous=True, set_as_default=False, timeout="1s")
    async with HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool:
        with pytest.raises(ClusterError, match="connect.*127.0.0.1:9.*new client"):
            await PythonClient.open(pool, other)


async def connected(cluster: Machines, ending: str) -> Client:
    """A client that can be closed in this way."""
    client = Client(
        cluster.address, asynchronous=ending != "close in a thread", set_as_default=False
    )
    if client.asynchronous:
        await client
    return client


async def end(client: Client, cluster: Machines, ending: str) -> None:
    """Have the client close in one of the ways."""
    if ending == "close":
        await client.close()
    elif ending == "close in a thread":
        await asyncio.to_thread(client.close)
    else:
        cluster.scheduler.kill()
        await until_async(lambda: client.status == "closed")
