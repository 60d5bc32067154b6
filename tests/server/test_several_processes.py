"""An app whose sessions are spread over several processes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from halves import host_of
from kernel.conftest import Client
from server.conftest import APPS, Open
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.errors import AppUnavailable, HostStartError
from mpkernel.kernel.messages import Console, Done, Restarted

KERNELS = APPS / "kernels.py"


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """Up to three processes, unless the test says something else."""
    return Settings(**{"processes_max": 3, **getattr(request, "param", {})})


class Fifo:
    """What cells read from: they run until something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    async def read_by(self, client: Client) -> None:
        """Return when a cell of this client has been reading for a while."""
        client.execute(
            f"print('begun', flush=True)\nprint(open({str(self.path)!r}).read())", cell="reading"
        )
        await client.wait_for(Console, text="begun\n")
        host = host_of(client.session)
        while host is None or not host.computing_count:
            await asyncio.sleep(0.01)

    async def write(self) -> None:
        await asyncio.to_thread(self.path.write_text, "the end")


async def opened(pool: HostPool, tmp_path: Path, count: int) -> list[Client]:
    app = tmp_path / "app.py"
    app.write_text("")
    clients = [await Client.open(pool, app) for _ in range(count)]
    for client in clients:
        await client.text("print('first')")
    return clients


def pids(clients: list[Client]) -> list[int | None]:
    return [client.session.pid for client in clients]


async def test_a_session_is_not_put_beside_one_that_computes(
    pool: HostPool, tmp_path: Path
) -> None:
    fifo = Fifo(tmp_path / "fifo")
    clients: list[Client] = []
    for _ in range(3):
        clients += await opened(pool, tmp_path, 1)
        await fifo.read_by(clients[-1])
    assert len(set(pids(clients))) == 3
    [fourth] = await opened(pool, tmp_path, 1)
    assert fourth.session.pid in pids(clients)  # there are no more than three
    assert await fourth.text("print('answered')") == "answered\n"
    await fifo.write()
    for client in clients:
        assert (await client.wait_for(Done, cell="reading")).outcome == "ok"


async def test_sessions_that_are_opened_together_know_of_each_other(
    pool: HostPool, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    clients = await asyncio.gather(*(Client.open(pool, app) for _ in range(3)))
    assert len(set(pids(clients))) == 3


async def test_idle_sessions_share_a_process(pool: HostPool, tmp_path: Path) -> None:
    [first] = await opened(pool, tmp_path, 1)
    [second] = await opened(pool, tmp_path, 1)
    assert first.session.pid == second.session.pid


@pytest.mark.parametrize("settings", [{"processes_max": 1}], indirect=True)
async def test_an_app_that_may_have_one_process_has_one(pool: HostPool, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    clients = await asyncio.gather(*(Client.open(pool, app) for _ in range(3)))
    assert len(set(pids(clients))) == 1


@pytest.mark.parametrize("settings", [{"sessions_per_process": 1}], indirect=True)
async def test_a_death_concerns_the_sessions_of_its_process_alone(
    pool: HostPool, tmp_path: Path
) -> None:
    clients = await opened(pool, tmp_path, 3)
    before = pids(clients)
    assert len(set(before)) == 3
    os.kill(before[0] or 0, signal.SIGKILL)
    restarted = await clients[0].wait_for(Restarted)
    assert "SIGKILL" in restarted.reason
    assert await clients[0].text("print('here')") == "here\n"
    for client in clients[1:]:
        assert await client.text("print('here')") == "here\n"
        assert not any(isinstance(message, Restarted) for message in client.messages)
    assert pids(clients)[1:] == before[1:]
    [app] = pool.apps
    assert not app.is_failed


async def test_sessions_come_back_on_a_process_that_runs_and_wait_for_no_start(
    pool: HostPool, tmp_path: Path
) -> None:
    fifo = Fifo(tmp_path / "fifo")
    [first] = await opened(pool, tmp_path, 1)
    await fifo.read_by(first)
    [second] = await opened(pool, tmp_path, 1)
    assert first.session.pid != second.session.pid
    await fifo.write()
    await first.wait_for(Done, cell="reading")
    while any(host.computing_count for host in pool.hosts):
        await asyncio.sleep(0.01)
    [app] = pool.apps
    starts = app.tallies.starts
    os.kill(first.session.pid or 0, signal.SIGKILL)
    await first.wait_for(Restarted)
    assert first.session.pid == second.session.pid
    assert app.tallies.starts == starts


async def test_each_session_may_have_a_warm_process_and_as_many_wait_again(tmp_path: Path) -> None:
    settings = Settings(processes_max=None, sessions_per_process=1, standby=2)
    async with HostPool(settings) as pool:
        assert await pool.standby.wait_ready()
        warm = pool.standby.pids
        assert len(warm) == 2
        assert pids(await opened(pool, tmp_path, 2)) == warm
        async with asyncio.timeout(PATIENCE_S):
            while len(pool.standby.pids) < 2:
                await asyncio.sleep(0.01)
        assert not set(pool.standby.pids) & set(warm)


@pytest.mark.parametrize("settings", [{"sessions_max": 2}], indirect=True)
async def test_one_session_too_many_is_refused(pool: HostPool, open_kernel: Open) -> None:
    first = await open_kernel("echo")
    await open_kernel("echo")
    with pytest.raises(AppUnavailable, match=r"sessions_max is 2.*others have closed"):
        await open_kernel("echo")
    first.stop()
    await open_kernel("echo")


@pytest.mark.parametrize("settings", [{"processes_min": 2, "idle_retire_s": 0.0}], indirect=True)
async def test_an_app_keeps_as_many_processes_as_it_is_told(
    pool: HostPool, open_kernel: Open
) -> None:
    session = await open_kernel("echo")
    [app] = pool.apps
    while len(app.hosts) < 2:
        await asyncio.sleep(0.01)
    await session.close()
    os.kill(app.hosts[0].pid, signal.SIGKILL)
    await app.hosts[0].wait_over()
    async with asyncio.timeout(PATIENCE_S):
        while len([host for host in app.hosts if host.state.value == "ready"]) < 2:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "settings", [{"sessions_per_process": 1, "idle_retire_s": 0.0}], indirect=True
)
async def test_a_process_leaves_with_its_last_session(pool: HostPool, open_kernel: Open) -> None:
    sessions = [await open_kernel("echo") for _ in range(2)]
    first, second = pool.hosts
    await sessions[1].close()
    await second.wait_over()
    assert pool.hosts == [first]


async def test_a_process_that_refuses_sessions_is_left_aside(
    pool: HostPool, open_kernel: Open
) -> None:
    first = await open_kernel("echo")
    [full] = pool.hosts
    full._health.refusal = "its process uses too much memory"
    second = await open_kernel("echo")
    assert second.pid != first.pid
    full._health.refusal = None


async def test_a_process_that_the_system_refuses_is_done_without(
    pool: HostPool, open_kernel: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await open_kernel("echo")

    def refuse(*_: object) -> None:
        raise HostStartError("no process is left")

    monkeypatch.setattr(pool.apps[0]._processes, "_launch_host", refuse)
    kernel = KernelSpec(entry="kernels:echo")
    second = await pool.open_session(KERNELS, kernel=kernel)  # the first one is new, and counts
    assert second.pid == first.pid
