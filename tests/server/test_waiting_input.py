"""What is sent to a session while it has no process is kept for the next one, up to a limit."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from kernel.conftest import Client

from mpkernel import HostPool, Settings
from mpkernel.errors import HostUnresponsive
from mpkernel.kernel.messages import Console, Restarted


@pytest.fixture
def settings() -> Settings:
    return Settings(restart_backoff_s=30, restart_backoff_max_s=30, journal_bytes=20_000)


async def test_it_is_refused_by_the_sessions_name_when_the_journal_is_full(
    pool: HostPool, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    client = await Client.open(pool, app, session_id="alice")
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    await client.wait_for(Restarted)
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    while client.session.pid is not None:
        await asyncio.sleep(0)
    kept = 0
    with pytest.raises(HostUnresponsive, match=r"alice of app\.py .*journal_bytes is 20000"):
        for number in range(1_000):
            client.set_values({f"v{number}": "x" * 1_000})
            kept += 1
    assert 10 < kept < 20
    while pool.hosts:
        await asyncio.sleep(0)
    pool.apps[0].restart()
    await client.wait_for(Restarted)
    client.execute(f"print(len(v{kept - 1}))", cell="asked")
    await client.wait_for(Console, text="1000\n")
