"""Apps on a cluster that are confined, and those whose processes a wrapper starts: what holds on
the server's machine holds on the worker's."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import psutil
import pytest
from dask_backend.apart import python_there, there
from dask_backend.machines import TEMPORARY, Machines, machines
from dask_backend.talking import printed, said
from descendants import has_ended
from server.obedient import FILES, bytes_of, obeying_in
from waiting import until, until_async

from mpkernel import HostPool, PythonClient, Restarted, Settings
from mpkernel.confinement.landlock import version
from mpkernel.errors import ClusterError, MPKernelError, UnfitPython
from mpkernel.server.operations.observing import Rates, snapshot_of

HOME = f"{TEMPORARY}/home"
REFUSED = ("PermissionError", "OSError")
"""The second where the file system is read-only for the app."""
ROOT = Path(__file__).resolve().parents[2]
STAYS = """sh -c '"$@"; exit $?' sh"""
BWRAP = (
    "bwrap --unshare-pid --unshare-ipc --unshare-net --unshare-uts --new-session"
    f" --ro-bind / / --dev /dev --proc /proc --tmpfs {TEMPORARY}"
)
WRAPPERS = [
    pytest.param("nice -n 3", id="execs"),
    pytest.param(STAYS, id="stays"),
    pytest.param(BWRAP, id="bwrap"),
]

confinable = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    """Of one worker, whose user has a home on its own machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", HOME)
        with machines(1) as cluster:
            patch.undo()
            there(cluster, f"import os; os.mkdir({HOME!r})")
            yield cluster


@pytest.fixture
def app(shared: Path) -> Path:
    folder = shared / "apps"
    folder.mkdir(exist_ok=True)
    (folder / "beside.py").write_text("NAME = 'beside'\n")
    path = folder / "app.py"
    path.write_text("x = 1\n")
    return path


@pytest.fixture(autouse=True)
async def leaves_nothing(cluster: Machines) -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(until, lambda: left_there(cluster) == "[]")


def left_there(cluster: Machines) -> str:
    """The folders and blocks of processes that the worker's machine still has; not what the worker
    itself keeps of the folders that it was sent."""
    folders = ("/dev/shm", TEMPORARY)
    return there(
        cluster,
        f"import os; print([one for folder in {folders} for one in os.listdir(folder)"
        " if one.startswith('mpk-') and not one.endswith('-folders')])",
    )


async def outcome(client: PythonClient, code: str) -> str:
    """What comes of code: "done", or the name of the error."""
    attempt = "\n    ".join(code.splitlines())
    return (
        await printed(
            client,
            f"try:\n    {attempt}\nexcept BaseException as error:\n"
            "    print(type(error).__name__)\nelse:\n    print('done')",
        )
    ).strip()


@confinable
@pytest.mark.parametrize("level", ["files", "strict"])
async def test_a_confined_app_may_there_what_it_may_here(
    cluster: Machines, app: Path, shared: Path, level: Literal["files", "strict"]
) -> None:
    (shared / "secret").write_text("secret")
    (shared / "data").mkdir(exist_ok=True)
    (shared / "data" / "table").write_text("1 2 3")
    (shared / "results").mkdir(exist_ok=True)
    there(cluster, f"open('{HOME}/only-there', 'w').write('there')")
    settings = Settings(
        cluster=cluster.address,
        confine=level,
        confine_read=(str(shared / "data"), "~/only-there"),
        confine_write=(str(shared / "results"),),
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with HostPool(settings) as pool, await PythonClient.open(pool, app) as client:
            allowed = (
                "import beside",
                f"open({str(shared / 'data' / 'table')!r}).read()",
                f"open('{HOME}/only-there').read()",
                f"open({str(shared / 'results' / 'new')!r}, 'w').write('x')",
                "import os; open(os.path.expanduser('~/note'), 'w').write('x')",
                "import tempfile; tempfile.NamedTemporaryFile().write(b'x')",
                "import subprocess; subprocess.run(['true'], check=True)",
            )
            for code in allowed:
                assert await outcome(client, code) == "done", code
            refused = (
                f"open({str(shared / 'secret')!r}).read()",
                f"open({str(app.parent / 'new')!r}, 'w')",
                f"open('{TEMPORARY}/elsewhere', 'w')",
                "import os; os.kill(os.getppid(), 0)",
                "import os; open(f'/proc/{os.getppid()}/environ').read()",
            )
            for code in refused:
                assert await outcome(client, code) in REFUSED, code
            connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()"
            expected = "PermissionError" if level == "strict" else "done"
            assert await outcome(client, connect) == expected
            (seen,) = (await snapshot_of(pool, Rates())).apps[0].hosts
            assert seen.confine == level
            client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", cell="kill")
            await said(client, Restarted)
            assert await outcome(client, refused[0]) in REFUSED


@confinable
async def test_a_confined_app_may_read_its_copy(cluster: Machines, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    (tmp_path / "app.py").write_text("x = 1\n")
    settings = Settings(cluster=cluster.address, confine="strict", cluster_upload=True)
    async with (
        HostPool(settings) as pool,
        await PythonClient.open(pool, tmp_path / "app.py") as client,
    ):
        assert await printed(client, "import beside; print(beside.NAME)") == "beside\n"
        write = "import os; open(os.path.join(os.path.dirname(beside.__file__), 'new'), 'w')"
        assert await outcome(client, write) in REFUSED


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
@pytest.mark.parametrize("confine", ["off", pytest.param("strict", marks=confinable)])
async def test_virtual_files_come_from_there(
    cluster: Machines, shared: Path, wrapper: str | None, confine: Literal["off", "strict"]
) -> None:
    app = shared / "files.py"
    app.write_text(FILES.read_text())
    settings = Settings(cluster=cluster.address, launch_wrapper=wrapper, confine=confine)
    async with HostPool(settings) as pool:
        told = await obeying_in(pool)(app)
        key = await told.do("f = kernel.files.create(b'x' * 99_999); result = f.key")
        assert await asyncio.to_thread(bytes_of, pool, key) == b"x" * 99_999


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_host_behind_a_wrapper_works_in_full(
    cluster: Machines, app: Path, wrapper: str
) -> None:
    settings = Settings(cluster=cluster.address, launch_wrapper=wrapper, watch_interval_s=0.1)
    async with HostPool(settings) as pool, await PythonClient.open(pool, app) as client:
        (seen,) = (await snapshot_of(pool, Rates())).apps[0].hosts
        assert seen.launch_wrapper == wrapper
        about = "import os, sys; print(os.nice(0), sys.prefix)"
        nice, prefix = (await printed(client, about)).split()
        assert (nice == "3") == (wrapper == "nice -n 3")
        assert prefix == sys.prefix
        threads = "import threading; e = threading.Event()\n"
        threads += "for _ in range(30): threading.Thread(target=e.wait, daemon=True).start()"
        await printed(client, threads)
        await until_async(
            lambda: pool.hosts[0].usages and pool.hosts[0].usages[-1].threads > 30,
        )
        host = pool.hosts[0].pid_on_worker
        assert host is not None
        await printed(client, "import subprocess; p = subprocess.Popen(['sleep', '700'])")
        os.kill(host, signal.SIGSEGV)  # it is the host itself, not the wrapper
        await said(client, Restarted)
        death = pool.apps[0].last_death
        assert death is not None
        assert (death.reason.value, death.pid_on_worker) == ("crash", host)
        assert (await printed(client, about)).split()[1] == sys.prefix


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_host_behind_a_wrapper_ends_with_its_outpost(
    cluster: Machines, app: Path, wrapper: str
) -> None:
    settings = Settings(cluster=cluster.address, launch_wrapper=wrapper)
    async with HostPool(settings) as pool, await PythonClient.open(pool, app) as client:
        assert await printed(client, "print(1)") == "1\n"
        await until_async(lambda: pool.hosts[0].pid_on_worker)
        host = psutil.Process(pool.hosts[0].pid_on_worker)
        above = host.parents()  # perhaps a wrapper; the outpost, the worker, the nanny
        above[above.index(cluster.nannies[0]) - 2].kill()
        await said(client, Restarted)
        await until_async(lambda: has_ended(host))


async def test_another_python_and_a_wrapper_go_together(cluster: Machines, app: Path) -> None:
    python = python_there(cluster, "wrapped", "msgspec")
    settings = Settings(cluster=cluster.address, launch_wrapper=STAYS, python=python)
    async with HostPool(settings) as pool, await PythonClient.open(pool, app) as client:
        prefix = await printed(client, "import sys; print(sys.prefix)")
        assert prefix == f"{TEMPORARY}/wrapped\n"


@pytest.mark.parametrize(
    ("wrapper", "error", "says"),
    [
        ("no-such-wrapper -x", ClusterError, "no-such-wrapper cannot be executed"),
        ("false", UnfitPython, "exit code 1 before it said"),
        ("bwrap --unshare-pid --bind / /", UnfitPython, "does not see itself in /proc"),
    ],
)
async def test_a_wrapper_that_does_not_work_is_named_with_the_worker(
    cluster: Machines, app: Path, wrapper: str, error: type[MPKernelError], says: str
) -> None:
    async with HostPool(Settings(cluster=cluster.address, launch_wrapper=wrapper)) as pool:
        with pytest.raises(error, match=says) as caught:
            await PythonClient.open(pool, app)
    assert wrapper.split()[0] in caught.value.what
    assert "the worker tcp://127.0.0.1:" in caught.value.what


@confinable
async def test_a_confined_app_that_is_not_told_of_its_folders_does_not_start(
    cluster: Machines, app: Path
) -> None:
    """A wrapper has taken the variables away."""
    keeps = f"env -i PATH={os.environ['PATH']} PYTHONPATH={ROOT}"
    settings = Settings(cluster=cluster.address, launch_wrapper=keeps, confine="files")
    async with HostPool(settings) as pool:
        with pytest.raises(MPKernelError, match="was not told of the folders") as caught:
            await PythonClient.open(pool, app)
    assert "hand on the environment variables" in caught.value.remedy
    assert "the worker tcp://127.0.0.1:" in caught.value.what
