"""An app's processes are replaced one after another: there is always one that takes sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from kernel.conftest import Client
from server.simulated import SETTINGS, START_S, SimulatedHost, World
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, Settings
from mpkernel.kernel.messages import Restarted
from mpkernel.server.supervision.deaths import Reason

SPREAD = msgspec.structs.replace(SETTINGS, processes_max=3, sessions_per_process=2)


def spread(settings: Settings = SPREAD) -> tuple[World, list[SimulatedHost]]:
    """An app with six sessions on as many processes as it may have, all ready."""
    world = World(settings)
    for _ in range(6):
        assert world.open(with_journal=True) is not None
    world.go_on(2.0)
    return world, world.hosts


def go_on_until_over(world: World) -> list[int]:
    """How many processes were ready at each moment of the restart."""
    ready = []
    for _ in range(200):
        if not world.app._upkeep.rolling_restart.is_under_way:
            break
        ready.append(sum(h.takes_sessions and h.state.value == "ready" for h in world.hosts))
        world.go_on(0.1)
    return ready


@pytest.mark.parametrize("most", [1, 3])
def test_there_is_always_one_that_is_ready(most: int) -> None:
    world, old = spread(msgspec.structs.replace(SPREAD, processes_max=most))
    assert len(old) == most
    world.app.restart_rolling()
    assert min(go_on_until_over(world)) >= 1
    world.go_on(5.0)
    assert not set(world.hosts) & set(old)
    assert all(client.host in world.hosts for client in world.clients)


def test_no_session_is_restarted_twice() -> None:
    world, _ = spread()
    homes: dict[str, list[int]] = {client.session_id: [] for client in world.clients}
    world.app.restart_rolling()
    while world.app._upkeep.rolling_restart.is_under_way:
        world.go_on(0.1)
        for client in world.clients:
            if client.host is not None and client.host.pid not in homes[client.session_id]:
                homes[client.session_id].append(client.host.pid)
    assert all(len(pids) <= 2 for pids in homes.values()), homes


def test_a_newcomer_meanwhile_is_taken_and_not_restarted() -> None:
    world, old = spread()
    world.app.restart_rolling()
    world.go_on(2 * START_S)
    newcomer = world.open(with_journal=True)
    assert newcomer is not None
    assert newcomer.host not in old


def test_the_old_ones_stay_where_a_fresh_one_does_not_become_ready() -> None:
    world, old = spread()
    world.app.restart_rolling()
    world.clock.advance(0.1)
    [fresh] = set(world.hosts) - set(old)
    fresh.die(Reason.START)
    world.go_on(5.0)
    assert set(old) <= set(world.hosts)
    assert all(client.host in old for client in world.clients)


def test_the_old_ones_stay_where_the_system_gives_no_process() -> None:
    world, old = spread()
    world.refusals = 1
    world.app.restart_rolling()
    world.go_on(5.0)
    assert world.hosts == old


def test_an_old_one_that_dies_meanwhile_is_left_out() -> None:
    world, old = spread()
    world.app.restart_rolling()
    world.clock.advance(0.1)
    for host in old:
        host.die(Reason.KILLED)
    world.go_on(60.0)
    assert not world.app._upkeep.rolling_restart.is_under_way
    assert all(client.host in world.hosts for client in world.clients)


def test_one_process_alone_can_be_restarted() -> None:
    world, old = spread()
    first, *others = old
    there = [client for client in world.clients if client.host is first]
    world.app.restart(first.pid)
    world.go_on(5.0)
    assert first not in world.hosts
    assert set(others) <= set(world.hosts)
    assert all(client.host is not first and client.host is not None for client in there)
    for client in there:
        client.send(Channel.CONTROL, b"x")


@pytest.fixture
def settings() -> Settings:
    return Settings(processes_max=2, sessions_per_process=1)


async def test_real_sessions_come_back_one_process_after_another(
    pool: HostPool, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("")
    clients = [await Client.open(pool, app) for _ in range(2)]
    for client in clients:
        await client.text("print('first')")
    old = pool.hosts
    assert len(old) == 2
    pool.apps[0].restart_rolling()
    for client in clients:
        await client.wait_for(Restarted)
        assert await client.text("print('again')") == "again\n"
    async with asyncio.timeout(PATIENCE_S):
        for host in old:
            await host.wait_over()
    assert not set(pool.hosts) & set(old)
