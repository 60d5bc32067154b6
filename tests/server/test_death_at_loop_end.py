"""A process that dies in the very moment in which its program's loop ends: all that follows from
its death is done, and the program ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from server.conftest import APPS
from waiting import PATIENCE_S

from mpkernel.aio.tasks import begun_task

PROGRAM = """
import asyncio, os, signal, sys
from mpkernel import HostPool, KernelSpec, Settings

async def main(app, which, turns):
    pool = HostPool(Settings(standby=int(which == "standby"), stop_grace_s=3600))
    pool.start()
    if which == "standby":
        await pool.standby.wait_ready()
        (pid,) = pool.standby.pids
    else:
        await pool.open_session(app, kernel=KernelSpec(entry="kernels:echo"))
        pid = pool.hosts[0].pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    for _ in range(turns):
        await asyncio.sleep(0)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
print("ended")
"""


@pytest.mark.parametrize("which", ["host", "standby"])
@pytest.mark.parametrize("turns", range(3))
def test_the_program_ends_at_once(which: str, turns: int) -> None:
    app = str(APPS / "kernels.py")
    command = [sys.executable, "-W", "error", "-c", PROGRAM, app, which, str(turns)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stdout == "ended\n", ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Warning" not in ran.stderr


async def test_a_task_that_is_cancelled_before_it_begins_is_begun() -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    begun_task(work, name="test")
    (task,) = (one for one in asyncio.all_tasks() if one.get_name() == "test")
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()


async def test_a_task_that_is_cancelled_later_is_not_begun_again() -> None:
    begins = 0

    async def work() -> None:
        nonlocal begins
        begins += 1
        await asyncio.Event().wait()

    begun_task(work, name="test")
    await asyncio.sleep(0)
    (task,) = (one for one in asyncio.all_tasks() if one.get_name() == "test")
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert begins == 1
    assert not [one for one in asyncio.all_tasks() if one.get_name() == "test"]
