"""Whatever process of a cluster is killed or stopped, sessions keep their values, and nothing is
left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from dask_backend.machines import Machines, client_of, left_on, machines
from dask_backend.talking import printed, said
from descendants import has_ended
from distributed import Client
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher, launcher_of
from mpkernel.dask_backend.lease import hold
from mpkernel.errors import ClusterError, MPKernelError
from mpkernel.kernel.messages import Done, Restarted

SILENCE_S = 6.0
SETTINGS = Settings(ping_interval_s=0.5, ping_timeout_s=SILENCE_S, cluster_silence_s=SILENCE_S)
MAKES_A_FILE = """
import subprocess
from multiprocessing.shared_memory import SharedMemory
child = subprocess.Popen(["sleep", "600"])
block = SharedMemory(create=True, size=1000)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2) as made:
        yield made


@pytest.fixture
async def client(cluster: Machines) -> AsyncIterator[Client]:
    """With two workers, and after the test with nothing left on their machines."""
    async with client_of(cluster) as client:
        yield client
        living = [one for one in cluster.nannies if not has_ended(one)]
        await until_async(lambda: not left_on(living))


@pytest.fixture
async def pool(client: Client) -> AsyncIterator[HostPool]:
    async with HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool:
        yield pool


@contextmanager
def an_app(name: str) -> Iterator[Path]:
    """An app in a folder that the workers have, too."""
    path = Path(__file__).parent / f"{name}_of_{os.getpid()}.py"
    path.write_text("x = 1\n")
    try:
        yield path
    finally:
        path.unlink()


@pytest.fixture
def app() -> Iterator[Path]:
    with an_app("app") as path:
        yield path


class Place:
    """Where a host runs: the processes from the host up to the nanny."""

    def __init__(self, host: int) -> None:
        self.host = psutil.Process(host)
        self.outpost = parent_of(self.host)
        self.worker = parent_of(self.outpost)
        self.nanny = parent_of(self.worker)
        self.below = self.host.children(recursive=True)

    def is_gone(self) -> bool:
        """Whether nothing of the host is left."""
        return all(has_ended(one) for one in (self.host, self.outpost, *self.below))


def parent_of(process: psutil.Process) -> psutil.Process:
    parent = process.parent()
    assert parent is not None
    return parent


@asynccontextmanager
async def a_session(pool: HostPool, app: Path) -> AsyncIterator[tuple[PythonClient, Place]]:
    """A session with a value, a child and a block."""
    async with await PythonClient.open(pool, app) as kernel:
        kernel.run_app()
        await said(kernel, Done)
        kernel.set_values({"x": 7})
        await printed(kernel, MAKES_A_FILE)
        yield kernel, Place(int(await printed(kernel, "import os; print(os.getpid())")))


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("host", signal.SIGKILL),
        ("host", signal.SIGSTOP),
        ("outpost", signal.SIGKILL),
        ("outpost", signal.SIGSTOP),
        ("worker", signal.SIGKILL),
        ("nanny", signal.SIGKILL),
    ],
)
async def test_a_session_comes_back_and_nothing_is_left(
    client: Client, pool: HostPool, app: Path, victim: str, number: signal.Signals
) -> None:
    # A stopped outpost does not notice that its server has given it up. Its worker ends it.
    await client.run(exec, "import mpkernel.dask_backend.lease as lease; lease._SILENCE_S = 3")
    async with a_session(pool, app) as (kernel, place):
        getattr(place, victim).send_signal(number)
        await said(kernel, Restarted)
        assert await printed(kernel, "print(x)") == "7\n"
        await until_async(place.is_gone)


async def test_a_stopped_outpost_ends_with_its_worker(
    client: Client, pool: HostPool, app: Path
) -> None:
    async with a_session(pool, app) as (kernel, place):
        place.outpost.suspend()
        for process in (place.nanny, place.worker):
            process.kill()
        await said(kernel, Restarted)
        await until_async(place.is_gone)


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """In this `with`, the process does not run."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.parametrize("victim", ["worker", "nanny"])
async def test_an_app_goes_on_while_its_worker_is_stopped(
    pool: HostPool, app: Path, victim: str
) -> None:
    async with a_session(pool, app) as (kernel, place):
        with stopped(getattr(place, victim)):
            await asyncio.sleep(2 * SILENCE_S)  # long enough to be lost, if it were
            assert await printed(kernel, "print(x)") == "7\n"
        assert await printed(kernel, "print(os.getpid())") == f"{place.host.pid}\n"


async def test_a_file_that_the_workers_lack_is_named_each_time_and_runs_as_soon_as_they_have_it(
    cluster: Machines, client: Client, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("x = 1\n")
    settings = msgspec.structs.replace(SETTINGS, restart_limit=1)
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        for _ in range(4):
            with pytest.raises(ClusterError, match=f"there is no file {app} on"):
                await PythonClient.open(pool, app)
        for nanny in cluster.nannies:
            there = Path(f"/proc/{nanny.pid}/root{app}")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text("x = 1\n")
        async with await PythonClient.open(pool, app) as kernel:
            assert await printed(kernel, "print(2)") == "2\n"


async def test_however_often_its_worker_is_lost_a_session_comes_back(
    client: Client, app: Path
) -> None:
    settings = msgspec.structs.replace(SETTINGS, restart_limit=1, restart_backoff_s=0.1)
    async with (
        HostPool(settings, launcher=DaskLauncher(client)) as pool,
        a_session(pool, app) as (kernel, place),
    ):
        for _ in range(4):
            place.outpost.kill()
            await said(kernel, Restarted)
            place = Place(int(await printed(kernel, "import os; print(os.getpid())")))
        assert await printed(kernel, "print(x)") == "7\n"


async def opened_in_the_end(pool: HostPool, app: Path) -> PythonClient:
    """A session of an app, when its cluster can be reached again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await PythonClient.open(pool, app)
            except ClusterError:
                await asyncio.sleep(3)  # a connection that failed is not tried again for 10 s


@pytest.fixture
def alone() -> Iterator[Machines]:
    """A cluster of one worker, which a test may end."""
    with machines(1) as made:
        yield made


async def lose_scheduler(cluster: Machines) -> None:
    """End the scheduler, and with it its only worker. The worker's hosts go on."""
    [nanny] = cluster.nannies
    cluster.scheduler.kill()
    await until_async(lambda: has_ended(nanny))


async def bring_scheduler_back(cluster: Machines) -> None:
    """Start a scheduler at the same address, and a worker."""
    await asyncio.to_thread(cluster.restart_scheduler)
    cluster.nannies.append(await asyncio.to_thread(cluster.add_worker))


async def answer_of(pool: HostPool, app: Path) -> str:
    """What a new session of an app prints when it is asked, within a time."""
    async with asyncio.timeout(PATIENCE_S), await PythonClient.open(pool, app) as kernel:
        return await printed(kernel, "print(2)")


async def test_apps_outlive_their_scheduler_and_new_ones_run_when_it_is_back(
    alone: Machines, app: Path
) -> None:
    async with HostPool(SETTINGS, launcher=launcher_of(alone.address)) as pool:
        async with a_session(pool, app) as (kernel, place):
            await lose_scheduler(alone)
            assert await printed(kernel, "print(x)") == "7\n"
            assert not has_ended(place.host)
            with an_app("unserved") as unserved, pytest.raises(MPKernelError, match=alone.address):
                await answer_of(pool, unserved)
            await bring_scheduler_back(alone)
            with an_app("served") as path:
                async with await opened_in_the_end(pool, path) as served:
                    assert await printed(served, "print(2)") == "2\n"
            assert await printed(kernel, "print(x)") == "7\n"
        await until_async(place.is_gone)


async def test_a_lease_that_nobody_claims_ends(client: Client) -> None:
    await client.run(exec, "import mpkernel.dask_backend.lease as it; it._CLAIMED_WITHIN_S = 0.2")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.submit(hold, "a ticket", "a topic", pure=False)
    finally:
        code = "import mpkernel.dask_backend.lease as it; it._CLAIMED_WITHIN_S = 30.0"
        await client.run(exec, code)
