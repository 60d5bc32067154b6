"""Whatever an app has started ends with its process, however that ends, and leaves no zombie."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
import psutil
import pytest
from halves import host_of
from server.conftest import APPS
from waiting import PATIENCE_S, until

from mpkernel import HostPool, KernelSpec, Session, Settings
from mpkernel.errors import HostDied
from mpkernel.process_tree import Identity, stat_of
from mpkernel.server.apps.app import App
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.strays import MARK, end_strays_of_dead_servers
from shm.names import ProcessTag, own_tag

KERNELS = APPS / "kernels.py"

End: TypeAlias = Callable[[HostPool, Session], Awaitable[object]]


async def close(pool: HostPool, session: Session) -> None:
    await pool.close()


async def retire(pool: HostPool, session: Session) -> None:
    await session.close()
    app_of(pool).replace()


async def restart(pool: HostPool, session: Session) -> None:
    app_of(pool).restart()


async def break_a_limit(pool: HostPool, session: Session) -> None:
    error = HostDied("it used too much", remedy="use less")
    host_of(session)._health.end_for(Reason.LIMIT, error)


async def kill(pool: HostPool, session: Session) -> None:
    os.kill(session.pid, signal.SIGKILL)


async def crash(pool: HostPool, session: Session) -> None:
    os.kill(session.pid, signal.SIGSEGV)


def app_of(pool: HostPool) -> App:
    [app] = pool.apps
    return app


def identity_of(pid: int) -> Identity:
    stat = stat_of(pid)
    assert stat is not None
    return stat.identity


def has_ended(process: Identity) -> bool:
    """Whether a process has ended, also when nobody has reaped it."""
    stat = stat_of(process.pid)
    return stat is None or stat.identity != process or stat.has_ended


def wait_gone(processes: list[Identity]) -> None:
    until(lambda: all(has_ended(one) for one in processes))


async def gone(processes: list[Identity]) -> None:
    await asyncio.to_thread(wait_gone, processes)


@pytest.mark.parametrize("end", [close, retire, restart, break_a_limit, kill, crash])
async def test_all_that_was_started_ends_with_its_process(end: End) -> None:
    async with HostPool(Settings(watch_interval_s=0.02)) as pool:
        session = await pool.open_session(
            KERNELS, kernel=KernelSpec(entry="kernels:leave_children")
        )
        children = [identity_of(pid) for pid in msgspec.json.decode((await anext(session)).payload)]
        host = host_of(session)
        now = time.monotonic()
        while not host.usages or host.usages[-1].taken_at < now:
            await asyncio.sleep(0.01)
        assert host.usages[-1].processes > len(children)
        await end(pool, session)
        await gone(children)


@pytest.mark.parametrize("end", [kill, crash])
async def test_what_keeps_nothing_of_its_host_ends_with_it_too(end: End) -> None:
    async with HostPool(Settings(watch_interval_s=None)) as pool:
        session = await pool.open_session(
            KERNELS, kernel=KernelSpec(entry="kernels:leave_one_that_keeps_nothing")
        )
        child = identity_of(int((await anext(session)).payload))
        assert os.getsid(child.pid) == child.pid
        assert not Path(f"/proc/{child.pid}/environ").read_bytes()
        await end(pool, session)
        await gone([child])


@pytest.mark.parametrize("end", [close, break_a_limit])
async def test_nothing_is_as_quick_in_starting_others_as_in_being_ended(end: End) -> None:
    async with HostPool() as pool:
        session = await pool.open_session(KERNELS, kernel=KernelSpec(entry="kernels:leave_a_chain"))
        chain = int((await anext(session)).payload)
        while not of_session(chain):  # one look may fall between two of them
            await asyncio.sleep(0)
        host = host_of(session)
        await end(pool, session)
        await host.wait_over()
        assert not any(of_session(chain) for _ in range(10))


def of_session(number: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == number and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


SERVER = """
import asyncio, sys
from mpkernel import HostPool, KernelSpec

async def main():
    pool = HostPool()
    session = await pool.open_session(sys.argv[1], kernel=KernelSpec(entry=sys.argv[2]))
    print(session.pid, (await anext(session)).payload.decode(), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def server_with(tmp_path: Path, entry: str) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """A server with a session, its app's process id, and what the session said."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    command = [sys.executable, script, KERNELS, entry]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        host, said = server.stdout.readline().decode().split(" ", 1)
        try:
            yield server, int(host), said
        finally:
            server.kill()


def test_all_that_was_started_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with server_with(tmp_path, "kernels:leave_children") as (server, _, said):
        children = [identity_of(pid) for pid in msgspec.json.decode(said)]
        server.kill()
        wait_gone(children)


def test_what_keeps_nothing_and_whose_server_is_killed_too_is_ended_by_the_next_one(
    tmp_path: Path,
) -> None:
    entry = "kernels:leave_one_that_keeps_nothing"
    with server_with(tmp_path, entry) as (server, host, said):
        child = identity_of(int(said))
        os.kill(host, signal.SIGSTOP)  # it must not see that its server is gone
        end_strays_of_dead_servers()
        assert not has_ended(child)
        server.kill()
        server.wait()
        app = identity_of(host)
        os.kill(host, signal.SIGKILL)
        wait_gone([app])
        end_strays_of_dead_servers()
        wait_gone([child])


def test_what_was_killed_with_its_server_is_ended_by_the_next_one() -> None:
    dead = ProcessTag(own_tag().namespace, own_tag().pid, own_tag().start + 1).prefix + "0"
    living = own_tag().prefix + "0"
    marked = [
        subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: mark}, start_new_session=True)
        for mark in (dead, living)
    ]
    try:
        end_strays_of_dead_servers()
        assert marked[0].wait(PATIENCE_S) in (-signal.SIGKILL, 0)
        assert marked[1].poll() is None
    finally:
        for one in marked:
            one.kill()
            one.wait()


FIRST = """
import asyncio, os, signal, sys
import psutil
from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import HostDied, PoolClosed

async def main():
    async with HostPool(Settings(idle_retire_s=0, watch_interval_s=0.02)) as pool:
        for end in ("close", "kill", "limit"):
            session = await pool.open_session(
                sys.argv[1], kernel=KernelSpec(entry="kernels:leave_children_and_a_file")
            )
            await anext(session)
            [host] = pool.hosts
            while host.usages[-1:] == () or host.usages[-1].processes < 8:
                await asyncio.sleep(0.01)
            if end == "close":
                await session.close()
            else:
                os.kill(host.pid, signal.SIGKILL) if end == "kill" else host.kill()
            await host.wait_over()
            print(end, [one.name() for one in psutil.Process().children()], flush=True)

assert os.getpid() == 1
asyncio.run(main())
"""


def test_the_first_process_of_a_container_gets_no_zombies(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(FIRST)
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        namespace[1:1] = ["--user", "--map-root-user"]
    run = subprocess.run(
        [*namespace, sys.executable, script, KERNELS], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == ["close []", "kill []", "limit []"], run.stderr
