"""The end of a pool takes a limited time, and an error in one part of it leaves no other part
undone."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kernel.conftest import Client
from server.conftest import APPS

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.errors import PoolClosed
from mpkernel.kernel.messages import Done
from mpkernel.server.hosts import ending
from mpkernel.server.supervision.watchdog import Watchdog

_DEBUGGER = """
import ctypes, sys
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
assert libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("holds it", flush=True)
sys.stdin.read()
"""

KERNEL = KernelSpec(entry="kernels:echo")


@pytest.fixture
def held() -> Iterator[list[subprocess.Popen[str]]]:
    """Debuggers, which hold processes until they end: such a process is not over when it is
    killed."""
    debuggers: list[subprocess.Popen[str]] = []
    yield debuggers
    for debugger in debuggers:
        debugger.communicate()


def hold(pid: int, held: list[subprocess.Popen[str]]) -> None:
    debugger = subprocess.Popen(
        [sys.executable, "-c", _DEBUGGER, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    held.append(debugger)
    assert debugger.stdout is not None
    assert debugger.stdout.readline() == "holds it\n"


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system


@pytest.mark.skipif(sys.platform != "linux", reason="ptrace is called as Linux has it")
async def test_a_process_that_outlives_sigkill_is_given_up(
    held: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ending, "KILLED_WITHIN_S", 0.5)
    pool = HostPool(Settings(stop_grace_s=0.1))
    session = await pool.open_session(APPS / "kernels.py", kernel=KERNEL)
    other = await pool.open_session(APPS / "helpers.py", kernel=KernelSpec(entry="kernels:echo"))
    (host,) = [one for one in pool.hosts if one.app == str(APPS / "kernels.py")]
    hold(host.pid, held)
    before_s = cpu_s()
    async with asyncio.timeout(20):
        await pool.close()
    assert cpu_s() - before_s < 0.3, "the loop spins while it waits"
    assert pool.hosts == []
    for one in (session, other):
        with pytest.raises(PoolClosed):
            await anext(one)
    assert f"host given up, SIGKILL does not end it app={host.app} pid={host.pid}" in caplog.text
    held.pop().communicate()  # now it ends
    assert os.waitpid(host.pid, 0)[0] == host.pid


async def test_a_failure_in_one_part_of_the_end_leaves_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    pool = HostPool(Settings(standby=1))
    pool.start()
    await pool.standby.wait_ready()
    for name in ("first.py", "second.py"):
        (tmp_path / name).write_text("")
        await pool.open_session(
            tmp_path / name, kernel=KernelSpec(entry="mpkernel.kernel.main:run")
        )
    pids = [host.pid for host in pool.hosts] + pool.standby.pids

    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(pool.apps[0], "leave", fail)
    monkeypatch.setattr(Watchdog, "close_soon", fail)
    async with asyncio.timeout(20):
        await pool.close()
    assert pool.hosts == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "an app could not be closed" in caplog.text
    assert "the watchdog could not be ended" in caplog.text


async def test_a_pause_of_the_server_does_not_count_for_processes_that_leave(
    tmp_path: Path,
) -> None:
    """When a container is frozen, both the server and its processes stop."""
    pool = HostPool(Settings(stop_grace_s=1.0))
    app, left = tmp_path / "app.py", tmp_path / "left"
    app.write_text("")
    client = await Client.open(pool, app)
    code = f"import atexit, pathlib\natexit.register(pathlib.Path({str(left)!r}).touch)"
    client.execute(code, cell="at exit")
    await client.wait_for(Done)
    process = psutil.Process(pool.hosts[0].pid)
    process.suspend()
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    time.sleep(1.5)
    process.resume()
    await closing
    assert left.exists(), "the process was killed before its end"
