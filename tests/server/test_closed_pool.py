"""A pool that is closed while somebody waits for it: the wait ends, and nothing is started."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest

from mpkernel import HostPool, KernelSpec, PythonClient, Settings
from mpkernel.errors import MPKernelError, PoolClosed

from .conftest import APPS

ECHO = KernelSpec(entry="kernels:echo")
BACKED_OFF = Settings(restart_backoff_s=1000, restart_backoff_max_s=1000)


async def backed_off(pool: HostPool) -> Path:
    """An app that has to wait long for its next process."""
    app = APPS / "kernels.py"
    for _ in range(2):
        session = await pool.open_session(app, kernel=ECHO)
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        with pytest.raises(MPKernelError):
            await anext(session)
    return app


@pytest.mark.parametrize("end", ["close", "drain", "close_soon"])
async def test_who_waits_for_a_process_is_told_at_once(end: str) -> None:
    pool = HostPool(BACKED_OFF)
    app = await backed_off(pool)
    opening = asyncio.create_task(pool.open_session(app, kernel=ECHO))
    await asyncio.sleep(0)  # it waits now
    if end == "close_soon":
        pool.close_soon()
    else:
        await getattr(pool, end)()
    with pytest.raises(PoolClosed):
        await opening
    assert not any(host.is_alive for host in pool.hosts)
    await pool.close()


async def test_an_app_that_was_held_on_to_starts_no_process() -> None:
    pool = HostPool()
    app = pool.app(APPS / "kernels.py", ECHO)
    await pool.close()
    before = [tempfile.TemporaryFile() for _ in range(20)]
    client = PythonClient.open(pool, app.path)
    with pytest.raises(PoolClosed):
        await client
    assert pool.hosts == []
    for file in before:
        assert not file.read()
        file.close()


async def test_a_session_that_waits_with_its_journal_ends_with_the_pool(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    pool = HostPool(BACKED_OFF)
    client = await PythonClient.open(pool, app)
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    await client.next()
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    while client.session.pid is not None:
        await asyncio.sleep(0)
    await pool.close()
    assert client.session.over
    assert pool.hosts == []
