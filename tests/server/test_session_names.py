"""Names of sessions: clients choose them, and in an app only one open session may have a name."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Settings
from mpkernel.errors import SessionNameTaken, SettingsError
from mpkernel.kernel.messages import Restarted

from .conftest import APPS, Open

ECHO = KernelSpec(entry="kernels:echo")


async def test_a_second_living_session_of_a_name_is_refused_by_that_name(
    pool: HostPool, open_kernel: Open
) -> None:
    first = await pool.open_session(APPS / "kernels.py", kernel=ECHO, session_id="alice")
    with pytest.raises(SessionNameTaken, match="alice of kernels.py"):
        await pool.open_session(APPS / "kernels.py", kernel=ECHO, session_id="alice")
    first.send(Channel.CONTROL, b"still here")
    assert (await anext(first)).payload == b"still here"
    (host,) = pool.hosts
    assert host.session_count == 1


async def test_a_name_is_free_once_its_session_is_closed(pool: HostPool) -> None:
    app = APPS / "kernels.py"
    for _ in range(3):
        session = await pool.open_session(app, kernel=ECHO, session_id="alice")
        await session.close()


async def test_a_name_is_free_before_the_kernel_of_a_closed_session_has_ended(
    pool: HostPool,
) -> None:
    app = APPS / "kernels.py"
    first = await pool.open_session(app, kernel=ECHO, session_id="alice")
    first.stop()
    assert not first.over
    second = await pool.open_session(app, kernel=ECHO, session_id="alice")
    second.send(Channel.CONTROL, b"here")
    assert (await anext(second)).payload == b"here"


async def test_a_name_is_free_once_its_kernel_has_returned(pool: HostPool) -> None:
    app = APPS / "kernels.py"
    for _ in range(2):
        session = await pool.open_session(
            app, kernel=KernelSpec(entry="kernels:leave_at_once"), session_id="alice"
        )
        assert [message.payload async for message in session] == [b"last words"]


async def test_a_name_is_held_between_two_processes(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    settings = Settings(restart_backoff_s=30, restart_backoff_max_s=30)
    async with HostPool(settings) as pool:
        waits = await PythonClient.open(pool, app, session_id="alice")
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        assert isinstance(await waits.next(), Restarted)
        os.kill(pool.hosts[0].pid, signal.SIGKILL)
        while waits.session.pid is not None:
            await asyncio.sleep(0)
        second = asyncio.create_task(PythonClient.open(pool, app, session_id="alice"))
        pool.apps[0].restart()
        with pytest.raises(SessionNameTaken):
            await second


async def test_another_app_may_have_a_session_of_the_same_name(
    pool: HostPool, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text("")
    one = await PythonClient.open(pool, tmp_path / "other.py", session_id="alice")
    await pool.open_session(APPS / "kernels.py", kernel=ECHO, session_id="alice")
    assert not one.session.over


async def test_a_name_that_utf8_cannot_express_is_refused_before_anything_is_sent(
    pool: HostPool,
) -> None:
    with pytest.raises(SettingsError, match="session_id"):
        await pool.open_session(APPS / "kernels.py", kernel=ECHO, session_id="\ud800")
    assert pool.hosts == []
