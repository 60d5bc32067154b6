"""Confined apps whose processes come and go: recovery, several processes, and one for each
visitor."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from cleaners import Cleaner
from server.conversing_server import said, told

from mpkernel import Failure, HostPool, PythonClient, Restarted, Settings
from mpkernel.confinement.landlock import version

pytestmark = pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")

STORE = """
from mpkernel.kernel.context import current_place
file = current_place().session.kernel.files.create(b"content", media_type="text/plain")
print(file.key)
"""
"""A cell that makes a virtual file, and prints its key."""

ABOUT = "import os, tempfile; print(os.getpid(), tempfile.gettempdir())"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "apps" / "app.py"
    path.parent.mkdir()
    path.write_text("")
    (tmp_path / "secret").write_text("")
    return path


async def about(client: PythonClient) -> tuple[int, str]:
    """The process of a client, and its temporary folder."""
    pid, folder = (await said(client, ABOUT)).split()
    return int(pid), folder


async def refused(client: PythonClient, path: Path | str) -> bool:
    """Whether its process may not read a file."""
    client.execute(f"open({str(path)!r})", cell="cell")
    return any(
        isinstance(one, Failure) and "PermissionError" in repr(one) for one in await told(client)
    )


async def test_an_app_that_died_comes_back_as_confined_with_a_new_folder(
    app: Path, tmp_path: Path
) -> None:
    async with HostPool(Settings(confine="files", standby=1)) as pool:
        client = await PythonClient.open(pool, app)
        pid, folder = await about(client)
        assert await refused(client, tmp_path / "secret")
        os.kill(pid, signal.SIGKILL)
        while not isinstance(await client.next(), Restarted):
            pass
        again, other_folder = await about(client)
        assert (again, other_folder) != (pid, folder)
        assert await refused(client, tmp_path / "secret")
        while os.path.exists(folder):
            await asyncio.sleep(0.01)  # it is removed on a thread
    assert not os.path.exists(other_folder)


async def test_the_processes_of_an_app_do_not_see_each_others_files(app: Path) -> None:
    async with HostPool(
        Settings(confine="strict", processes_max=2, sessions_per_process=2)
    ) as pool:
        clients = [await PythonClient.open(pool, app) for _ in range(4)]
        found = [await about(client) for client in clients]
        assert len({pid for pid, _ in found}) == 2
        for client, (_, folder) in zip(clients, found, strict=True):
            await said(client, f"open({folder + '/own'!r}, 'w').close()")
        for client, (pid, _) in zip(clients, found, strict=True):
            for other, other_folder in found:
                assert await refused(client, other_folder + "/own") == (other != pid)


async def test_each_visitor_has_a_warm_process_and_a_temporary_folder_of_its_own(
    app: Path,
) -> None:
    settings = Settings(confine="files", sessions_per_process=1, processes_max=None, standby=3)
    async with HostPool(settings) as pool:
        pool.standby.start()
        assert await pool.standby.wait_ready()
        warm = pool.standby.pids
        clients = await asyncio.gather(*(PythonClient.open(pool, app) for _ in range(3)))
        found = [await about(client) for client in clients]
        assert {pid for pid, _ in found} == set(warm)
        assert len({folder for _, folder in found}) == 3
        await said(clients[0], f"open({found[0][1] + '/own'!r}, 'w').close()")
        assert await refused(clients[1], found[0][1] + "/own")
        await said(clients[0], "from multiprocessing.shared_memory import SharedMemory as S")
        await said(clients[0], "kept = S('of-one-visitor', create=True, size=10)")
        assert "of-one-visitor" not in await said(clients[1], "print(os.listdir('/dev/shm'))")
        await said(clients[0], "kept.close(); kept.unlink()")


@pytest.mark.parametrize("level", ["files", "strict"])
async def test_its_folders_are_not_cleaned_up_while_it_lives(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Literal["files", "strict"]
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    cleaner = Cleaner(tmp_path / "tmp", tmp_path / "tmp.conf")
    async with HostPool(Settings(confine=level, file_storage="temp_file")) as pool:
        client = await PythonClient.open(pool, app)
        _, folder = await about(client)
        cleaner.clean()
        assert Path(folder).is_relative_to(cleaner.folder)
        made = "tempfile.NamedTemporaryFile().close(); print('made')"
        assert await said(client, f"import tempfile; {made}") == "made"
        key = (await said(client, STORE)).strip()
        with pool.files.lease(key) as file:
            assert b"".join(file.chunks()) == b"content"
    assert cleaner.clean() == []
