"""Folders that cannot be sent, or not be kept where they are sent: an error that names them, or
another worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dask_backend.machines import TEMPORARY, Machines, machines
from dask_backend.talking import printed
from descendants import has_ended
from distributed import Client
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.errors import AppNotFound, ClusterError

MIB = 2**20
SETTINGS = Settings(cluster_upload=True, idle_retire_s=0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(1) as made:
        yield made


@pytest.fixture
async def client(cluster: Machines) -> AsyncIterator[Client]:
    async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        yield client


@pytest.fixture
async def pool(client: Client) -> AsyncIterator[HostPool]:
    async with HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool:
        yield pool


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "notebooks" / "app.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    return path


def copies_on(nanny: psutil.Process) -> list[Path]:
    found = Path(f"/proc/{nanny.pid}/root{TEMPORARY}").glob("mpk-*")
    return [one for one in found if not one.name.endswith("-folders")]


async def test_a_folder_that_is_too_large_is_an_error_that_says_so(
    client: Client, app: Path
) -> None:
    settings = Settings(cluster_upload=True, cluster_upload_bytes=1000)
    (app.parent / "data.bin").write_bytes(bytes(1001))
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        with pytest.raises(ClusterError, match=r"notebooks cannot be sent .* cluster_upload_bytes"):
            await PythonClient.open(pool, app)
        (app.parent / "data.bin").unlink()
        async with await PythonClient.open(pool, app) as kernel:
            assert await printed(kernel, "print(1)") == "1\n"


async def test_a_folder_is_refused_before_a_worker_is_asked_for(client: Client, app: Path) -> None:
    settings = Settings(
        cluster_upload=True, cluster_upload_bytes=1, cluster_resources=("NONE_HAS_IT",)
    )
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        with pytest.raises(ClusterError, match="cannot be sent"):
            await PythonClient.open(pool, app)


async def test_an_app_that_is_not_there_is_the_error_that_it_always_is(
    pool: HostPool, app: Path
) -> None:
    with pytest.raises(AppNotFound):
        await PythonClient.open(pool, app.with_name("none.py"))


async def test_an_app_that_is_a_link_out_of_its_folder_is_refused(
    pool: HostPool, app: Path
) -> None:
    target = app.rename(app.parent.parent / "elsewhere.py")
    app.symlink_to(target)
    with pytest.raises(ClusterError, match=r"app.py .* is a link that leads out of its folder"):
        await PythonClient.open(pool, app)


async def test_the_log_names_links_that_are_not_sent(
    pool: HostPool, app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (app.parent / "to_data").symlink_to("/mnt/data")
    async with await PythonClient.open(pool, app) as kernel:
        code = "import os; print(os.listdir(os.path.dirname(__file__)))"
        assert await printed(kernel, code) == "['app.py']\n"
    said = f"links that lead out of {app.parent} are not sent to workers: to_data"
    assert caplog.messages.count(said) == 1


@pytest.mark.parametrize("is_removed", [False, True], ids=["changed", "removed"])
async def test_what_changes_while_a_worker_is_waited_for_is_seen(
    client: Client, app: Path, cluster: Machines, is_removed: bool
) -> None:
    resource = f"{'REMOVED' if is_removed else 'CHANGED'}=1"
    settings = Settings(cluster_upload=True, cluster_resources=(resource,))
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app))
        await until_async(lambda: pool.hosts and pool.hosts[0].is_preparing)
        async with asyncio.timeout(PATIENCE_S):
            while not await client.run_on_scheduler(tasks):
                await asyncio.sleep(0.05)
        if is_removed:
            app.unlink()
        else:
            app.with_name("late.txt").touch()
        await asyncio.to_thread(cluster.add_worker, "--resources", resource)
        if is_removed:
            with pytest.raises(ClusterError, match=rf"there is no file {app} to send"):
                await opening
        else:
            async with await opening as kernel:
                code = "import os; print(sorted(os.listdir(os.path.dirname(__file__))))"
                assert await printed(kernel, code) == "['app.py', 'late.txt']\n"


def tasks(dask_scheduler: Any) -> int:
    """How many tasks a scheduler knows."""
    return len(dask_scheduler.tasks)


tasks.__module__ = "__main__"  # so that it is sent whole: the scheduler does not have this file


@pytest.mark.parametrize("room_bytes", [2 * MIB, 5 * MIB], ids=["for_nothing", "for_the_archive"])
async def test_a_worker_without_room_is_named(
    client: Client, app: Path, cluster: Machines, room_bytes: int
) -> None:
    (app.parent / "data.bin").write_bytes(os.urandom(3 * MIB))
    nanny = await asyncio.to_thread(
        cluster.add_worker, "--resources", "SMALL=1", temporary_bytes=room_bytes
    )
    settings = Settings(cluster_upload=True, cluster_resources=("SMALL=1",))
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        with pytest.raises(ClusterError) as refused:
            await PythonClient.open(pool, app)
        assert "the folder of app.py cannot be copied to " in refused.value.what
        assert "No space left on device" in refused.value.what
        assert refused.value.remedy.startswith(f"make room in {TEMPORARY} there")
        await until_async(lambda: not copies_on(nanny))
    nanny.terminate()
    await until_async(lambda: has_ended(nanny))


async def test_a_worker_that_dies_half_way_through_an_upload_is_replaced_by_another(
    client: Client, app: Path, cluster: Machines
) -> None:
    (app.parent / "data.bin").write_bytes(os.urandom(60 * MIB))
    nanny = await asyncio.to_thread(cluster.add_worker, "--resources", "HALF=1")
    settings = Settings(cluster_upload=True, cluster_resources=("HALF=1",))
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app))
        [outpost] = await until_async(lambda: receiving_on(nanny))
        outpost.send_signal(signal.SIGSTOP)
        assert unfinished_on(nanny)
        await asyncio.to_thread(cluster.add_worker, "--resources", "HALF=1")
        for one in (nanny, *nanny.children(recursive=True)):
            one.kill()
        async with await opening as kernel:
            assert await printed(kernel, "print(1)") == "1\n"


async def test_an_outpost_that_is_stopped_half_way_through_an_upload_is_lost_soon(
    client: Client, app: Path, cluster: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    (app.parent / "data.bin").write_bytes(os.urandom(60 * MIB))
    nanny = await asyncio.to_thread(cluster.add_worker, "--resources", "STOPPED=1")
    settings = Settings(
        cluster_upload=True, cluster_resources=("STOPPED=1",), cluster_silence_s=8.0
    )
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app))
        await until_async(lambda: has_received(nanny))
        [outpost] = receiving_on(nanny)
        outpost.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(cluster.add_worker, "--resources", "STOPPED=1")
        async with await opening as kernel:
            assert await printed(kernel, "print(1)") == "1\n"
    assert "nothing came from it for 8 s" in caplog.text
    with contextlib.suppress(psutil.NoSuchProcess):  # its worker may have ended it meanwhile
        outpost.send_signal(signal.SIGCONT)
    await until_async(lambda: has_ended(outpost))


async def test_nothing_is_left_of_an_upload_that_is_given_up(
    client: Client, app: Path, cluster: Machines
) -> None:
    (app.parent / "data.bin").write_bytes(os.urandom(60 * MIB))
    nanny = await asyncio.to_thread(cluster.add_worker, "--resources", "GIVEN_UP=1")
    settings = Settings(cluster_upload=True, cluster_resources=("GIVEN_UP=1",))
    async with HostPool(settings, launcher=DaskLauncher(client)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app))
        [outpost] = await until_async(lambda: receiving_on(nanny))
        outpost.send_signal(signal.SIGSTOP)
        assert unfinished_on(nanny)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    outpost.send_signal(signal.SIGCONT)
    await until_async(
        lambda: not unfinished_on(nanny) and not copies_on(nanny) and has_ended(outpost),
    )


def unfinished_on(nanny: psutil.Process) -> list[Path]:
    """Archives that have begun to come."""
    return list(Path(f"/proc/{nanny.pid}/root{TEMPORARY}").glob("mpk-*-folders/mpk-*"))


def has_received(nanny: psutil.Process) -> bool:
    """Whether something of an archive has come."""
    return any(one.stat().st_size for one in unfinished_on(nanny))


def receiving_on(nanny: psutil.Process) -> list[psutil.Process]:
    """The outposts that receive an archive."""
    if not unfinished_on(nanny):
        return []
    return [outpost for worker in nanny.children() for outpost in worker.children()]
