"""Apps whose folder is sent to workers: these share no file system with the server (`machines`
hides the tests' folder from them)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dask_backend.machines import TEMPORARY, Machines, machines
from dask_backend.talking import PATIENCE_S, printed, said
from distributed import Client
from shared_children import SHARED
from waiting import until_async

from mpkernel import HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.kernel.messages import Done

SETTINGS = Settings(cluster_upload=True, idle_retire_s=0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2) as made:
        yield made


@pytest.fixture
async def client(cluster: Machines) -> AsyncIterator[Client]:
    """With two workers; after the test, nothing of a process is left on their machines, and
    nothing at all when what they keep is not used."""
    async with Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        cluster.nannies = [one for one in cluster.nannies if one.is_running()]
        while len(cluster.nannies) < 2:
            cluster.nannies.append(await asyncio.to_thread(cluster.add_worker))
        await client.wait_for_workers(2, timeout=PATIENCE_S)
        yield client
        await until_async(lambda: not copies_on(cluster), patience_s=PATIENCE_S)
        for nanny in cluster.nannies:
            SHARED.update(nanny.children())


@pytest.fixture
async def pool(client: Client) -> AsyncIterator[HostPool]:
    async with HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an app, which no worker has."""
    folder = tmp_path / "notebooks"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "numbers.txt").write_text("1 2 3")
    (folder / "beside.py").write_text("NAME = 'beside'\n")
    (folder / "app.py").write_text("import beside\nx = 1\n")
    return folder


def on_machines(cluster: Machines, pattern: str) -> list[Path]:
    """What matches in the temporary folders of the workers' machines."""
    found = []
    for nanny in cluster.nannies:
        if nanny.is_running():
            found += Path(f"/proc/{nanny.pid}/root{TEMPORARY}").glob(pattern)
    return found


def copies_on(cluster: Machines) -> list[Path]:
    """What processes have left or have."""
    return [one for one in on_machines(cluster, "mpk-*") if not one.name.endswith("-folders")]


def archives_on(cluster: Machines) -> list[Path]:
    """The archives that workers keep."""
    found = on_machines(cluster, "mpk-*-folders/*")
    return [one for one in found if one.suffix != ".lock"]


@asynccontextmanager
async def opened(pool: HostPool, app: Path) -> AsyncIterator[PythonClient]:
    """A session that has run the app."""
    async with await PythonClient.open(pool, app) as kernel:
        kernel.run_app()
        await said(kernel, Done)
        yield kernel


async def test_an_app_runs_from_a_copy_of_its_folder_and_imports_what_lies_beside_it(
    pool: HostPool, folder: Path, cluster: Machines
) -> None:
    async with opened(pool, folder / "app.py") as kernel:
        assert await printed(kernel, "print(beside.NAME, x)") == "beside 1\n"
        code = (
            "import os, sys; from pathlib import Path; here = Path(__file__).parent;"
            "print((here / 'data' / 'numbers.txt').read_text(), here.name, sys.argv[0] == __file__,"
            " oct(here.parent.stat().st_mode), 'MPKERNEL_APP_COPY' in os.environ)"
        )
        assert await printed(kernel, code) == "1 2 3 notebooks True 0o40700 False\n"
        assert await printed(kernel, f"print(os.path.exists({str(folder)!r}))") == "False\n"
        assert len(copies_on(cluster)) == 1
        [app] = pool.apps
        assert app.path == str(folder / "app.py")
