"""Apps on a network that is cut and comes back: each machine has an address of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from dask_backend.machines import Machines, left_on, machines
from dask_backend.networks import Machine, Network, network
from dask_backend.talking import printed, said
from dask_backend.test_faults import Place, a_session, app
from descendants import has_ended
from distributed import Client
from waiting import until_async

from mpkernel import HostPool, Settings
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.kernel.messages import Console, Done, Restarted

__all__ = ["app"]

SILENCE_S = 6.0
CUT_S = 2.0
LARGE_BYTES = 5_000_000


class Cluster(NamedTuple):
    """A cluster of two workers, each on a machine of its own, as its scheduler is."""

    network: Network
    processes: Machines

    def machine_of(self, place: Place) -> Machine:
        """The machine where a host runs."""
        number = self.processes.nannies.index(place.nanny)
        return self.network.machines[1 + number]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with network(3) as cables, machines(2, cables) as processes:
        yield Cluster(cables, processes)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    """After the test every machine is joined, and nothing is left on one."""
    address = cluster.processes.address
    async with Client(address, asynchronous=True, set_as_default=False) as client:
        try:
            yield client
        finally:
            for machine in cluster.network.machines:
                cluster.network.join(machine)
        await until_async(lambda: not left_on(cluster.processes.nannies))


@pytest.fixture
async def pool(client: Client) -> AsyncIterator[HostPool]:
    settings = Settings(cluster_silence_s=SILENCE_S, restart_limit=1)
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        yield pool


@pytest.mark.parametrize(("sends", "receives"), [(True, True), (True, False), (False, True)])
async def test_a_cut_that_is_shorter_than_the_silence_loses_nothing(
    cluster: Cluster, pool: HostPool, app: Path, sends: bool, receives: bool
) -> None:
    async with a_session(pool, app) as (kernel, place):
        counting = "import time\nfor n in range(60):\n    print(n)\n    time.sleep(0.05)\n"
        kernel.execute(counting, cell="counting")
        await said(kernel, Console, "counting")
        machine = cluster.machine_of(place)
        cluster.network.cut(machine, sends=sends, receives=receives)
        kernel.execute("print(x, os.getpid())", cell="sent meanwhile")
        await asyncio.sleep(CUT_S)
        cluster.network.join(machine)
        counted = await said(kernel, Done, "counting")
        text = "0\n" + "".join(one.text for one in counted if isinstance(one, Console))
        assert text.endswith("".join(f"{n}\n" for n in range(1, 60)))
        [*_, answer, _] = await said(kernel, Done, "sent meanwhile")
        assert isinstance(answer, Console)
        assert answer.text.split() == ["7", str(place.host.pid)]


async def test_a_cut_that_is_longer_than_the_silence_costs_the_process_and_not_the_session(
    cluster: Cluster, pool: HostPool, app: Path
) -> None:
    async with a_session(pool, app) as (kernel, place):
        machine = cluster.machine_of(place)
        cluster.network.cut(machine)
        await said(kernel, Restarted)
        assert await printed(kernel, "print(x)") == "7\n"
        other = Place(int(await printed(kernel, "import os; print(os.getpid())")))
        assert other.nanny != place.nanny
        await until_async(place.is_gone)
        assert left_on([place.nanny]) == []
        cluster.network.join(machine)
        assert not has_ended(place.nanny)
        assert await printed(kernel, "print(x)") == "7\n"
        assert not has_ended(other.host)


async def test_large_messages_both_ways_arrive_whole_after_a_cut(
    cluster: Cluster, pool: HostPool, app: Path
) -> None:
    async with a_session(pool, app) as (kernel, place):
        machine = cluster.machine_of(place)
        kernel.execute(f"import os\nprint('y' * {LARGE_BYTES}, flush=True)", cell="up")
        kernel.execute(f"text = {'z' * LARGE_BYTES!r}\nprint(len(text))", cell="down")
        cluster.network.cut(machine)
        await asyncio.sleep(CUT_S)
        cluster.network.join(machine)
        up = await said(kernel, Done, "up")
        assert (
            "".join(one.text for one in up if isinstance(one, Console)) == "y" * LARGE_BYTES + "\n"
        )
        [*_, answer, _] = await said(kernel, Done, "down")
        assert isinstance(answer, Console)
        assert answer.text == f"{LARGE_BYTES}\n"
