"""Fixtures of the server's tests: real pools with real hosts, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from loop_factories import LOOP_FACTORIES, LoopFactory

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings

# A test may start the tracker of this process, which then stays, with its pipe.
resource_tracker.ensure_running()

APPS = Path(__file__).parent / "apps"

Open = Callable[..., Awaitable[Session]]


async def ask(session: Session, payload: bytes) -> bytes:
    """Send this to the session's kernel. Returns the next message."""
    session.send(Channel.CONTROL, payload)
    return (await anext(session)).payload


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, LoopFactory]:
    return LOOP_FACTORIES


@pytest.fixture
def settings() -> Settings:
    """What the pool of a test is made with; a module may override it."""
    return Settings()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app without code, in a folder of its own; a module may override it."""
    path = tmp_path / "app.py"
    path.write_text("")
    return path


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the test's own for environments, reports of crashes and stored sessions."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[HostPool]:
    before = pipes_and_threads()
    async with HostPool(settings) as pool:
        yield pool
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
    assert not pipes_and_threads() - before, "descriptors or threads left behind"


def pipes_and_threads() -> Counter[str]:
    """How many Pipes, sockets, pidfds and threads of mpkernel this process has. Numbers only:
    uvloop replaces a pair of sockets of its own as it likes."""
    found = Counter(
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("mpkernel") and thread.name != "mpkernel-sweep"  # once a process
    )
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that listed the folder
            continue
        kind = target.partition("[")[0]
        if kind in ("pipe:", "socket:") or target == "anon_inode:[pidfd]":
            found[kind] += 1
    return found


@pytest.fixture
def open_kernel(pool: HostPool) -> Open:
    """Opens a session with one of the test kernels, by name, or by module and name."""

    async def opened(name: str, *, app: str | Path = APPS / "kernels.py", **spec: Any) -> Session:
        entry = name if ":" in name else f"kernels:{name}"
        return await pool.open_session(app, kernel=KernelSpec(entry=entry, **spec))

    return opened
