"""Processes of apps in environments of their own: while these are made, and afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from descendants import has_ended
from sandboxes.programs import Halted, replaced_uv
from sandboxes.wheels import write_app, write_c_wheel, write_installed, write_wheel
from waiting import PATIENCE_S

from mpkernel import Console, Done, Failure, HostPool, PythonClient, Restarted, Settings
from mpkernel.confinement import landlock
from mpkernel.errors import SandboxError
from mpkernel.sandboxes import Store
from mpkernel.server.operations.observing import Rates, snapshot_of
from mpkernel.server.operations.snapshot import HostSnapshot
from mpkernel.server.supervision.deaths import Reason

ABOUT = "import sys, tiny; print(tiny.VERSION, sys.prefix)"


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the environments of a test are made of; they lie in a folder of the test."""
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        write_wheel(folder, "tiny", version)
    write_installed(folder, "msgspec")
    for name, value in (
        ("XDG_CACHE_HOME", tmp_path / "cache"),
        ("UV_CACHE_DIR", tmp_path / "uv-cache"),
        ("UV_FIND_LINKS", folder),
        ("UV_NO_INDEX", "1"),
        ("UV_OFFLINE", "1"),
    ):
        monkeypatch.setenv(name, str(value))
    return folder


@pytest.fixture
def halted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Halted:
    halted = Halted(tmp_path)
    monkeypatch.setenv("UV", halted.uv)
    return halted


@pytest.fixture
async def pool() -> AsyncIterator[HostPool]:
    async with HostPool(Settings(sandbox=True)) as pool:
        yield pool


async def shown_of(pool: HostPool) -> HostSnapshot:
    """What operators see of the process of the app that was opened first."""
    snapshot = await snapshot_of(pool, Rates())
    return snapshot.apps[0].hosts[0]


def app_of(folder: Path, version: str) -> str:
    return write_app(folder / f"app-{version}.py", f'dependencies = ["tiny=={version}"]')


async def said(client: PythonClient, code: str = ABOUT) -> str:
    """What code prints, or how it fails."""
    client.execute(code, cell="cell")
    text = ""
    while not isinstance(message := await client.next(), Done):
        if isinstance(message, Console):
            text += message.text
        elif isinstance(message, Failure):
            text += message.message
    return text.strip()


async def test_apps_with_two_versions_of_a_package_run_beside_each_other(
    pool: HostPool, tmp_path: Path
) -> None:
    (tmp_path / "plain.py").write_text("")
    apps = [app_of(tmp_path, "1.0"), app_of(tmp_path, "2.0"), str(tmp_path / "plain.py")]
    clients = await asyncio.gather(*(PythonClient.open(pool, app) for app in apps))
    one, two, plain = [await said(client) for client in clients]
    assert one.startswith(f"1.0 {tmp_path}/cache/")
    assert two.startswith(f"2.0 {tmp_path}/cache/")
    assert plain == "No module named 'tiny'"


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel cannot confine an app wholly")
async def test_a_confined_app_reads_its_own_environment_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    apps = [app_of(tmp_path / "apps", number) for number in ("1.0", "2.0")]
    async with HostPool(Settings(sandbox=True, confine="strict")) as pool:
        clients = await asyncio.gather(*(PythonClient.open(pool, app) for app in apps))
        one, two = [(await said(client)).split() for client in clients]
        assert (one[0], two[0]) == ("1.0", "2.0")
        listing = f"import os; os.listdir({two[1]!r})"
        assert "Permission denied" in await said(clients[0], listing)
        assert await said(clients[1], listing) == ""


async def test_so_they_do_where_the_package_is_written_in_c(
    pool: HostPool, tmp_path: Path, wheels: Path
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    for version in ("1.0", "2.0"):
        write_c_wheel(wheels, "compiled", version)
    apps = [
        write_app(tmp_path / f"c{version}.py", f'dependencies = ["compiled=={version}"]')
        for version in ("1.0", "2.0")
    ]
    clients = await asyncio.gather(*(PythonClient.open(pool, app) for app in apps))
    code = "import compiled; print(compiled.VERSION)"
    assert [await said(client, code) for client in clients] == ["1.0", "2.0"]


async def test_nothing_is_made_where_nobody_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    async with HostPool() as pool:
        client = await PythonClient.open(pool, app_of(tmp_path, "1.0"))
        assert await said(client) == "No module named 'tiny'"
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "started").exists()


async def test_no_package_and_no_variable_of_the_servers_python_shows_through(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/the/server")
    monkeypatch.setenv("VIRTUAL_ENV", "/of/the/server")
    client = await PythonClient.open(pool, app_of(tmp_path, "1.0"))
    code = (
        "import importlib.util as util, os, sys; print([name for name in ('pytest', 'psutil',"
        " 'marimo', 'msgspec', 'mpkernel', 'shm') if util.find_spec(name)],"
        " 'PYTHONPATH' in os.environ, os.environ['VIRTUAL_ENV'] == sys.prefix,"
        " os.environ['PATH'].startswith(sys.prefix + '/bin:'), '/of/the/server' in sys.path)"
    )
    assert await said(client, code) == "['msgspec', 'mpkernel', 'shm'] False True True False"


async def test_uv_sees_no_variable_that_the_app_does_not_get_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET", "UV_INDEX_TEST_PASSWORD", "HARMLESS"):
        monkeypatch.setenv(name, "value")
    seen = tmp_path / "seen"
    monkeypatch.setenv("UV", replaced_uv(tmp_path, f"env > {seen}"))
    async with HostPool(Settings(sandbox=True, env_deny=("SECRET", "UV_*"))) as pool:
        await PythonClient.open(pool, app_of(tmp_path, "1.0"))
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "SECRET" not in names
    assert {"UV_INDEX_TEST_PASSWORD", "HARMLESS", "PATH"} <= names


async def test_a_process_that_dies_is_followed_by_one_in_the_same_environment(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await PythonClient.open(pool, app_of(tmp_path, "1.0"))
    before = await said(client)
    monkeypatch.setenv("UV", replaced_uv(tmp_path, "exit 1"))
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    while not isinstance(await client.next(), Restarted):
        pass
    assert await said(client) == before


async def test_a_changed_header_is_the_next_processs(pool: HostPool, tmp_path: Path) -> None:
    app = app_of(tmp_path, "1.0")
    client = await PythonClient.open(pool, app)
    write_app(Path(app), 'dependencies = ["tiny==2.0"]')
    assert (await said(client)).startswith("1.0")
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    while not isinstance(await client.next(), Restarted):
        pass
    assert (await said(client)).startswith("2.0")


async def test_other_apps_go_on_while_an_environment_is_made_for_longer_than_a_start_may_take(
    tmp_path: Path, halted: Halted
) -> None:
    (tmp_path / "plain.py").write_text("")
    async with HostPool(Settings(sandbox=True, start_timeout_s=2.0)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app_of(tmp_path, "1.0")))
        await halted.reached()
        (host,) = pool.hosts
        assert (await shown_of(pool)).is_preparing
        plain = await PythonClient.open(pool, tmp_path / "plain.py")
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < begun + 2.5:
            assert await said(plain, "print(1)") == "1"
            await asyncio.sleep(0.05)
        assert not opening.done()
        await halted.go_on()
        client = await opening
        assert client.session.pid == host.pid  # what made it has become the app's process
        shown = await shown_of(pool)
        assert not shown.is_preparing
        assert shown.environment is not None
        assert shown.environment in await said(client)
        assert (await said(client)).startswith("1.0")


async def test_uv_is_ended_when_nobody_waits_any_more(
    pool: HostPool, tmp_path: Path, halted: Halted
) -> None:
    app = app_of(tmp_path, "1.0")
    openings = [asyncio.create_task(PythonClient.open(pool, app)) for _ in range(2)]
    uv = await halted.reached()
    (host,) = pool.hosts
    openings[0].cancel()
    await asyncio.wait(openings[:1])
    await asyncio.sleep(1.2)  # longer than it takes to look who waits
    assert not has_ended(uv)
    openings[1].cancel()
    await host.wait_over()
    assert has_ended(uv)
    (half,) = Store().kept()
    assert (half.facts, half.is_used) == (None, False)
    assert pool.apps[0].death_count == 0


async def test_what_uv_says_of_a_failure_reaches_who_waits_and_is_tried_again_at_once(
    pool: HostPool, tmp_path: Path, wheels: Path
) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["late"]')
    for _ in range(7):  # more often than an app may die
        with pytest.raises(SandboxError, match="late was not found"):
            await PythonClient.open(pool, app)
    assert pool.apps[0].last_death is not None
    assert pool.apps[0].last_death.reason is Reason.ENVIRONMENT
    write_wheel(wheels, "late", "1.0")
    client = await PythonClient.open(pool, app)
    assert await said(client, "import late; print(late.VERSION)") == "1.0"


async def test_a_header_that_cannot_be_read_is_named_with_its_line(
    pool: HostPool, tmp_path: Path
) -> None:
    app = write_app(tmp_path / "app.py", "dependencies = [")
    with pytest.raises(SandboxError, match=r"app\.py, line \d: the header is not TOML"):
        await PythonClient.open(pool, app)


async def test_a_header_that_was_spoilt_ends_the_sessions_that_would_come_back(
    pool: HostPool, tmp_path: Path
) -> None:
    app = app_of(tmp_path, "1.0")
    client = await PythonClient.open(pool, app)
    write_app(Path(app), 'dependencies = ["tiny==9.0"]')
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    with pytest.raises(SandboxError, match=r"tiny==9\.0"):
        while True:
            await client.next()


async def test_a_pool_that_closes_while_an_environment_is_made_leaves_no_uv(
    tmp_path: Path, halted: Halted
) -> None:
    async with HostPool(Settings(sandbox=True)) as pool:
        opening = asyncio.create_task(PythonClient.open(pool, app_of(tmp_path, "1.0")))
        uv = await halted.reached()
    with pytest.raises(Exception, match="closed"):
        await opening
    assert has_ended(uv)


async def test_an_environment_is_not_removed_while_its_app_runs(
    pool: HostPool, tmp_path: Path
) -> None:
    client = await PythonClient.open(pool, app_of(tmp_path, "1.0"))
    assert Store().prune(older_than_s=0) == []
    host = pool.hosts[0]
    await client.close()
    await host.close()
    assert len(Store().prune(older_than_s=0)) == 1


async def test_a_standby_waits_in_the_environment_that_an_app_used_last(tmp_path: Path) -> None:
    async with HostPool(Settings(sandbox=True, standby=1)) as pool:
        one = await PythonClient.open(pool, app_of(tmp_path, "1.0"))
        of_server, warm = await two_ready(pool)
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        while not isinstance(await one.next(), Restarted):
            pass
        assert one.session.pid == warm
        assert (await said(one)).startswith("1.0")
        _, warm = await two_ready(pool, but=warm)
        two = await PythonClient.open(pool, app_of(tmp_path, "2.0"))
        assert (await said(two)).startswith("2.0")
        await two_ready(pool, but=warm)
        assert has_ended(psutil.Process(warm)) if psutil.pid_exists(warm) else True
        assert pool.standby.pids[0] == of_server


async def two_ready(pool: HostPool, but: int = 0) -> list[int]:
    """The standby of the server, and that of an environment, once it is ready; another than this
    one."""
    async with asyncio.timeout(PATIENCE_S):
        while len(pids := pool.standby.pids) < 2 or but in pids:
            await asyncio.sleep(0.05)
    return pids
