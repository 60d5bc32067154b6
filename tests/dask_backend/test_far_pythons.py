"""Apps on a cluster with another Python: it is looked up on the worker's machine, and refused with
the worker's name where it does not fit."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from dask_backend.apart import on_machine, python_there, there
from dask_backend.machines import TEMPORARY, Machines, machines
from dask_backend.talking import printed, said
from descendants import command_of
from pythons import OTHERS, OWN, name_of
from server.obedient import FILES, bytes_of
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec, PythonClient, Restarted, Settings
from mpkernel.errors import HostStartError, UnfitPython
from mpkernel.kernel.messages import Done
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.wire.frames import Channel

CURRENT = "import os; print(os.getcwd())"
ABOUT = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(1) as cluster:
        yield cluster


@pytest.fixture
def app(shared: Path) -> Path:
    path = shared / "app.py"
    path.write_text("x = 1\n")
    return path


def settings(cluster: Machines, python: str) -> Settings:
    return Settings(cluster=cluster.address, python=python, watch_interval_s=0.2)


async def refused(
    cluster: Machines, app: Path, python: str, *requirements: str
) -> tuple[HostStartError, str]:
    """How a Python is refused, and the worker's address."""
    async with HostPool(settings(cluster, python)) as pool:
        kernel = KernelSpec(entry="kernels:echo", requirements=requirements)
        with pytest.raises(UnfitPython) as caught:
            await pool.open_session(app, kernel=kernel)
        death = pool.apps[0].last_death
        assert death is not None
        assert death.worker is not None
    assert death.worker in caught.value.what
    return caught.value, death.worker


async def test_a_process_starts_in_the_servers_current_folder_if_its_machine_has_that(
    cluster: Machines, app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_own = on_machine(cluster, "pwd")
    for folder, current in ((app.parent, str(app.parent)), (tmp_path, workers_own)):
        monkeypatch.chdir(folder)
        async with (
            HostPool(Settings(cluster=cluster.address)) as pool,
            await PythonClient.open(pool, app) as kernel,
        ):
            assert await printed(kernel, CURRENT) == f"{current}\n"


async def test_an_app_runs_and_comes_back_with_a_python_that_only_the_worker_has(
    cluster: Machines, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(app.parent)
    python = python_there(cluster, "whole", "msgspec")
    prefix = f"{TEMPORARY}/whole"
    async with (
        HostPool(settings(cluster, prefix)) as pool,  # the folder
        await PythonClient.open(pool, app) as kernel,
    ):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert await printed(kernel, ABOUT) == f"{version} {prefix}\n"
        assert await printed(kernel, CURRENT) == f"{app.parent}\n"
        packages = "import importlib.util as u; print([p for p in ('pytest', 'dask', 'msgspec')"
        assert await printed(kernel, f"{packages} if u.find_spec(p)])") == "['msgspec']\n"
        (seen,) = (await snapshot_of(pool, Rates())).apps[0].hosts
        assert (seen.python, seen.environment) == (python, None)
        kernel.execute("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", cell="crash")
        await said(kernel, Restarted)
        death = pool.apps[0].last_death
        assert death is not None
        assert (death.reason.value, death.python) == ("crash", python)
        assert await printed(kernel, ABOUT) == f"{version} {prefix}\n"
        async with asyncio.timeout(PATIENCE_S):
            while not pool.hosts[0].usages:
                await asyncio.sleep(0.05)


async def test_an_app_that_the_worker_does_not_have_runs_there_with_another_python(
    cluster: Machines, tmp_path: Path
) -> None:
    app = tmp_path / "sent" / "app.py"
    app.parent.mkdir()
    app.write_text("import beside\n")
    app.with_name("beside.py").write_text("NAME = 'beside'\n")
    prefix = python_there(cluster, "sent", "msgspec").removesuffix("/bin/python")
    uploading = msgspec.structs.replace(settings(cluster, prefix), cluster_upload=True)
    async with HostPool(uploading) as pool, await PythonClient.open(pool, app) as kernel:
        kernel.run_app()
        await said(kernel, Done)
        assert await printed(kernel, "print(beside.NAME)") == "beside\n"
        assert (await printed(kernel, ABOUT)).split()[1] == prefix


@pytest.mark.parametrize("other", OTHERS, ids=name_of)
async def test_an_app_may_have_another_version_of_python_than_its_worker(
    cluster: Machines, app: Path, other: str
) -> None:
    name = f"of-{name_of(other)}"
    python = python_there(cluster, name, "msgspec", python=other)
    async with (
        HostPool(settings(cluster, python)) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        assert (await printed(kernel, ABOUT)).split()[1] == f"{TEMPORARY}/{name}"


async def test_virtual_files_come_from_another_python(cluster: Machines, shared: Path) -> None:
    python = python_there(cluster, "files", "msgspec")
    app = shared / "files.py"
    app.write_text(FILES.read_text())
    async with HostPool(Settings(cluster=cluster.address)) as pool:
        kernel = KernelSpec(entry="files:obey", executable=python)
        session = await pool.open_session(app, kernel=kernel)
        code = b"file = kernel.files.create(b'x' * 99_999); result = file.key"
        session.send(Channel.CONTROL, code)
        key = (await anext(session)).payload.decode().strip("'")
        assert await asyncio.to_thread(bytes_of, pool, key) == b"x" * 99_999


async def test_a_python_that_the_server_has_and_the_worker_has_not_is_refused(
    cluster: Machines, app: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        here = Path(folder, "python")
        here.symlink_to(OWN)
        error, worker = await refused(cluster, app, str(here))
    assert error.what == f"the worker {worker}: there is no Python {here}"


async def test_packages_that_do_not_fit_are_named_with_the_worker(
    cluster: Machines, app: Path
) -> None:
    python = python_there(cluster, "lacking", "msgspec")
    error, worker = await refused(cluster, app, python, "tiny==2.0")
    assert error.what == f"the worker {worker}: the server has tiny 2.0, {python} has no tiny"
    assert error.remedy == f"install 'tiny==2.0' there: {python} -m pip install 'tiny==2.0'"
    python = python_there(cluster, "bare")
    error, worker = await refused(cluster, app, python)
    assert error.what == f"the worker {worker}: {python} has no msgspec that can be imported"


async def test_a_program_that_is_no_python_is_named_with_the_worker(
    cluster: Machines, app: Path
) -> None:
    error, _ = await refused(cluster, app, "/bin/false")
    assert "/bin/false, on the worker" in error.what
    assert "exit code 1 before it said which Python it is" in error.what


async def test_nothing_of_the_apps_is_left_on_the_workers_machine(cluster: Machines) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while [
            one
            for one in psutil.Process(cluster.nannies[0].pid).children(recursive=True)
            if TEMPORARY in command_of(one)
        ]:
            await asyncio.sleep(0.05)
    left = "import os; print([one for one in os.listdir('/dev/shm') if one.startswith('mpk')])"
    assert there(cluster, left) == "[]"
