"""Where the system has no pidfd, the sentinel tells the server that a host has ended."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest
from halves import host_of
from server.conftest import APPS
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.errors import HostDied
from mpkernel.server.launching import local_process as process

KERNELS = APPS / "kernels.py"


def inodes_held_by(pid: int) -> set[int]:
    folder = f"/proc/{pid}/fd"
    return {os.stat(f"{folder}/{fd}").st_ino for fd in os.listdir(folder)}


async def test_a_hosts_death_is_seen_although_its_fork_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_open_pidfd", lambda _pid: None)
    async with HostPool(Settings(standby=0)) as pool:
        session = await pool.open_session(
            KERNELS, kernel=KernelSpec(entry="kernels:leave_children")
        )
        [fork, *_] = msgspec.json.decode((await anext(session)).payload)
        sentinel = os.fstat(host_of(session)._process.death_fd).st_ino
        async with asyncio.timeout(PATIENCE_S):
            while sentinel in inodes_held_by(fork):
                await asyncio.sleep(0.01)
        os.kill(session.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(HostDied):
                async for _ in session:
                    pass
