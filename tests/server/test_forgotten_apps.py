"""Apps that were opened only once do not accumulate in a pool."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from server.simulated import SETTINGS, World

from mpkernel import HostPool, KernelSpec, PythonClient, Settings
from mpkernel.errors import HostDied, SessionNameTaken
from mpkernel.server.apps import app_table
from mpkernel.server.operations.observing import Rates, snapshot_of

KERNEL = KernelSpec(entry="mpkernel.kernel.main:run")


@pytest.fixture
def settings() -> Settings:
    return Settings(idle_retire_s=0.0)


async def test_of_many_apps_those_in_use_are_kept(
    pool: HostPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_table, "_KEPT_APPS", 4)
    pool._table._most_apps = 4
    paths = [tmp_path / f"app{number}.py" for number in range(12)]
    for path in paths:
        path.write_text("")
    used = await pool.open_session(paths[0], kernel=KERNEL)
    died = await pool.open_session(paths[1], kernel=KERNEL)
    (host,) = [host for host in pool.hosts if host.app == str(paths[1])]
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(HostDied):
        await anext(died)
    opened = []
    for path in paths[2:]:
        opened.append((await snapshot_of(pool, Rates())).totals.sessions)
        session = await pool.open_session(path, kernel=KERNEL)
        (host,) = [host for host in pool.hosts if host.app == str(path)]
        await session.close()
        await host.wait_over()
    kept = [app.path for app in pool.apps]
    assert kept[:2] == [str(paths[0]), str(paths[1])]  # one has a process, one died just now
    assert len(kept) <= 5
    snapshot = await snapshot_of(pool, Rates())
    assert [*opened, snapshot.totals.sessions] == list(range(2, 13))  # a count never goes back
    assert snapshot.totals.starts == snapshot.totals.sessions
    assert snapshot.totals.deaths == {"killed": 1}
    assert sum(snapshot.totals.host_start.counts) == sum(snapshot.totals.session_start.counts) == 12
    assert sum(app.totals.sessions for app in snapshot.apps) < 12
    again = await pool.open_session(paths[2], kernel=KERNEL)
    assert str(paths[2]) in [app.path for app in pool.apps]
    for session in (used, again):
        await session.close()


def test_an_app_is_idle_when_nothing_of_it_matters_any_more() -> None:
    world = World(SETTINGS)
    assert world.app.is_idle
    client = world.open(with_journal=True)
    assert client is not None
    (host,) = world.hosts
    host.is_ready()
    assert not world.app.is_idle
    host.die()
    assert not world.app.is_idle  # its reason is not told yet
    world.clock.advance(1.0)
    (host,) = world.hosts
    client.stop()
    host.end_kernel(client)
    host.leave()
    world.clock.advance(1.0)
    assert world.app.hosts == []
    assert not world.app.is_idle  # it died a moment ago
    world.clock.advance(SETTINGS.restart_window_s)
    assert world.app.is_idle


async def test_an_app_whose_session_is_looked_for_on_the_disk_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_table, "_KEPT_APPS", 2)
    settings = Settings(session_store=True, session_store_directory=str(tmp_path / "kept"))
    async with HostPool(settings) as pool:
        pool._table._most_apps = 2
        paths = [tmp_path / f"app{number}.py" for number in range(4)]
        for path in paths:
            path.write_text("")
        opening = asyncio.create_task(PythonClient.open(pool, paths[0], session_id="visitor"))
        await asyncio.sleep(0)  # it looks on the disk now
        for path in paths[1:]:
            pool.app(path, KERNEL)
        await opening
        assert [host.app for host in pool.hosts] == [str(paths[0])]
        with pytest.raises(SessionNameTaken):
            await PythonClient.open(pool, paths[0], session_id="visitor")
    assert pool.hosts == []
