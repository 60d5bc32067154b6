"""Apps whose folder is sent to workers: these share no file system with the server (`machines`
hides the tests' folder from them)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from dask_backend.machines import TEMPORARY, Machines, client_of, machines
from dask_backend.talking import printed, said
from descendants import has_ended
from distributed import Client
from waiting import until_async

from mpkernel import AppRule, HostPool, Settings
from mpkernel.client.python_client import PythonClient
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.errors import ClusterError
from mpkernel.kernel.messages import Done, Restarted

SETTINGS = Settings(cluster_upload=True, idle_retire_s=0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2) as made:
        yield made


@pytest.fixture
async def client(cluster: Machines) -> AsyncIterator[Client]:
    """With two workers; after the test, no copy is left on their machines."""
    async with client_of(cluster) as client:
        yield client
        await until_async(lambda: not copies_on(cluster))


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
    (folder / "app.py").write_text("import beside\nx = 1\ndef of_app(): ...\n")
    return folder


def on_machines(cluster: Machines, pattern: str) -> list[Path]:
    """What matches in the temporary folders of the workers' machines."""
    found = []
    for nanny in cluster.nannies:
        if not has_ended(nanny):
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
        code = (
            "print(of_app.__code__.co_filename == __file__, Path(beside.__file__).parent == here)"
        )
        assert await printed(kernel, code) == "True True\n"
        assert len(copies_on(cluster)) == 1
        [app] = pool.apps
        assert app.path == str(folder / "app.py")


@pytest.mark.parametrize("below", ["notebooks/data", "notebooks", "."])
async def test_relative_paths_lead_to_what_was_sent_as_they_do_at_the_server(
    pool: HostPool, folder: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.chdir(folder.parent / below)
    path = os.path.relpath(folder / "data" / "numbers.txt")
    async with opened(pool, folder / "app.py") as kernel:
        assert await printed(kernel, f"print(open({path!r}).read())") == "1 2 3\n"


async def test_a_folder_is_sent_once_and_each_process_has_a_copy_of_its_own(
    client: Client, folder: Path, cluster: Machines
) -> None:
    (folder / "other.py").write_text("x = 2\n")
    worker = next(iter(await client.run(os.getpid)))
    launcher = DaskLauncher(client, workers=[worker])
    before = set(archives_on(cluster))
    async with (
        HostPool(SETTINGS, launcher=launcher) as pool,
        opened(pool, folder / "app.py") as first,
    ):
        [archive] = set(archives_on(cluster)) - before
        sent = archive.stat().st_ino
        async with opened(pool, folder / "other.py") as second:
            writing = "from pathlib import Path; log = Path(__file__).with_name('log.txt');"
            await printed(first, f"{writing} log.write_text('first')")
            await printed(second, f"{writing} print(log.exists()); log.write_text('second')")
            assert await printed(first, "print(log.read_text())") == "first\n"
            assert set(archives_on(cluster)) == {archive, *before}
            assert archive.stat().st_ino == sent
            assert len(copies_on(cluster)) == 2
        await until_async(lambda: len(copies_on(cluster)) == 1)
    await until_async(lambda: not copies_on(cluster))


async def test_what_no_app_has_used_for_a_while_is_removed(
    client: Client, folder: Path, cluster: Machines
) -> None:
    set_to = (
        "import mpkernel.dask_backend.kept_archives as kept, mpkernel.dask_backend.lease as lease\n"
        "kept.KEPT_S, lease.KEPT_S = {0}, {0}"
    )
    (folder / "of_this_test").touch()  # so that no other test has sent the same folder
    before = set(archives_on(cluster))
    await client.run(exec, set_to.format(-0.5))
    try:
        async with (
            HostPool(SETTINGS, launcher=DaskLauncher(client)) as pool,
            opened(pool, folder / "app.py"),
        ):
            mine = set(archives_on(cluster)) - before
            assert mine
        await until_async(lambda: mine.isdisjoint(archives_on(cluster)))
    finally:
        await client.run(exec, set_to.format(600.0))


async def test_a_session_after_a_change_of_the_file_gets_a_new_process_with_a_new_copy(
    pool: HostPool, folder: Path
) -> None:
    app = folder / "app.py"
    async with opened(pool, app) as before:
        (folder / "beside.py").write_text("NAME = 'changed'\n")
        app.write_text("import beside\nx = 22\n")
        async with opened(pool, app) as after:
            assert await printed(after, "print(beside.NAME, x)") == "changed 22\n"
            pid = await printed(after, "import os; print(os.getpid())")
            assert await printed(before, "print(beside.NAME, x)") == "beside 1\n"
            async with opened(pool, app) as third:
                assert await printed(third, "import os; print(os.getpid())") == pid


async def test_a_restart_takes_what_has_changed_beside_the_app(
    pool: HostPool, folder: Path
) -> None:
    async with opened(pool, folder / "app.py") as kernel:
        (folder / "beside.py").write_text("NAME = 'changed'\n")
        [app] = pool.apps
        app.restart()
        await said(kernel, Restarted)
        assert await printed(kernel, "import beside; print(beside.NAME)") == "changed\n"


@pytest.mark.parametrize("victim", ["host", "outpost", "worker", "nanny"])
async def test_whatever_is_killed_sessions_come_back_and_no_copy_is_left(
    pool: HostPool, folder: Path, victim: str
) -> None:
    async with opened(pool, folder / "app.py") as kernel:
        host = psutil.Process(int(await printed(kernel, "import os; print(os.getpid())")))
        above = dict(zip(["outpost", "worker", "nanny"], host.parents(), strict=False))
        {"host": host, **above}[victim].kill()
        await said(kernel, Restarted)
        assert await printed(kernel, "print(beside.NAME, x)") == "beside 1\n"


async def test_a_worker_that_is_killed_leaves_no_archive(
    pool: HostPool, folder: Path, client: Client, cluster: Machines
) -> None:
    async with opened(pool, folder / "app.py") as kernel:
        host = psutil.Process(int(await printed(kernel, "import os; print(os.getpid())")))
        _, worker, nanny, *_ = host.parents()
        kept = Path(f"/proc/{nanny.pid}/root{TEMPORARY}").glob("mpk-*-folders")
        [of_worker] = [one for one in kept if f"-{base36(worker.pid)}-" in one.name]
        worker.kill()
        await until_async(lambda: not of_worker.exists())
        await said(kernel, Restarted)


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (base36(number // 36) if number >= 36 else "") + digits[number % 36]


async def test_settings_by_app_say_whose_folder_is_sent(client: Client, folder: Path) -> None:
    (folder / "other.py").write_text("x = 2\n")
    rules = [AppRule(str(folder / "other.py"), {"cluster_upload": False})]
    async with HostPool(SETTINGS, rules=rules, launcher=DaskLauncher(client)) as pool:
        async with opened(pool, folder / "app.py") as kernel:
            assert await printed(kernel, "print(x)") == "1\n"
        with pytest.raises(ClusterError, match=r"there is no file .*other.py .*cluster_upload"):
            await PythonClient.open(pool, folder / "other.py")


async def test_workers_of_one_machine_that_need_a_folder_at_once_receive_it_once(
    folder: Path,
) -> None:
    (folder / "other.py").write_text("x = 2\n")
    (folder / "data.bin").write_bytes(os.urandom(30 * 2**20))
    before = set(Path(TEMPORARY).glob("mpk-*-folders"))
    settings = msgspec.structs.replace(SETTINGS, cluster="local:2")
    async with HostPool(settings) as pool:
        one, other = await asyncio.gather(
            *(PythonClient.open(pool, folder / name) for name in ("app.py", "other.py"))
        )
        async with one, other:
            assert len({host.worker for host in pool.hosts}) == 2
            kept = set(Path(TEMPORARY).glob("mpk-*-folders")) - before
            archives = [path for one in kept for path in one.iterdir() if path.suffix != ".lock"]
            assert len(archives) == 2
            assert len({path.stat().st_ino for path in archives}) == 1


async def test_the_end_of_a_worker_removes_what_it_keeps(folder: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, cluster="local:1")
    before = set(Path(TEMPORARY).glob("mpk-*"))
    async with HostPool(settings) as pool:
        async with opened(pool, folder / "app.py") as kernel:
            assert await printed(kernel, "print(x)") == "1\n"
        assert [one.name for one in set(Path(TEMPORARY).glob("mpk-*-folders")) - before]
    await until_async(lambda: not set(Path(TEMPORARY).glob("mpk-*")) - before)
