"""A fork of a server, as `os.fork` makes one: whatever it does with the pool, the sessions of its
parent go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from server.conftest import APPS

SERVER = """
import asyncio, os, sys
from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import PoolClosed, SessionClosed

async def fork_and(act):
    async with HostPool(Settings(standby=1, snapshot=True, control=True)) as pool:
        await pool.standby.wait_ready()
        spec = KernelSpec(entry="kernels:echo")
        async with await pool.open_session(sys.argv[1], kernel=spec) as session:
            child = os.fork()
            if not child:
                await act(pool, session)
                os._exit(0)
            print("the fork", (await asyncio.to_thread(os.waitpid, child, 0))[1])
            session.send(Channel.CONTROL, b"still")
            print((await anext(session)).payload.decode())
            print(len(pool.hosts))

async def leaves_with_an_exception(pool, session):
    raise SystemExit(3)

async def ends_what_it_can(pool, session):
    session.stop()
    await session.close()
    pool.close_soon()
    await pool.drain()
    await pool.close()
    pool.kill()

async def uses_it(pool, session):
    try:
        session.send(Channel.CONTROL, b"lost")
    except SessionClosed as error:
        assert "fork" in str(error)
    try:
        pool.app(sys.argv[1], KernelSpec(entry="kernels:echo"))
    except PoolClosed as error:
        assert "fork" in str(error)
        os._exit(7)

asyncio.run(fork_and(globals()[sys.argv[2]]))
"""


@pytest.mark.parametrize(
    ("what", "status"),
    [("leaves_with_an_exception", 3 << 8), ("ends_what_it_can", 0), ("uses_it", 7 << 8)],
)
def test_sessions_go_on_when_a_fork_of_their_server(what: str, status: int, tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(program), str(APPS / "kernels.py"), what],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout.splitlines() == [f"the fork {status}", "still", "1"], ran.stderr
    assert not ran.stderr
    assert ran.returncode == 0


READ_BY_NOBODY = """
import asyncio, atexit, os, signal, sys, time
from mpkernel import Channel, HostPool, KernelSpec

async def fork_and_stop_reading(app, sent):
    parent = os.getpid()
    async with HostPool() as pool:
        spec = KernelSpec(entry="counting:count")
        async with await pool.open_session(app, kernel=spec) as session:
            session.send(Channel.CONTROL, sent.encode())
            if not os.fork():
                os.kill(parent, signal.SIGSTOP)
                atexit.register(os.kill, parent, signal.SIGCONT)
                while not os.path.exists(sent):
                    time.sleep(0.01)
                raise SystemExit(3)
            print([int((await anext(session)).payload) for _ in range(100)] == list(range(100)))
            session.send(Channel.CONTROL, sent.encode() + b".2")
            print(int((await anext(session)).payload))
            print(len(pool.hosts))
    print(os.wait()[1])

asyncio.run(fork_and_stop_reading(*sys.argv[1:]))
"""


def test_a_fork_that_leaves_takes_no_messages_of_its_parent(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(READ_BY_NOBODY)
    ran = subprocess.run(
        [sys.executable, str(program), str(APPS / "counting.py"), str(tmp_path / "sent")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout.splitlines() == ["True", "0", "1", str(3 << 8)], ran.stderr
    assert not ran.stderr
    assert ran.returncode == 0
