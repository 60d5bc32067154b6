"""How sessions are restored after a death: in which order, and what happens when one of them
fails."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest
from server.conftest import APPS
from server.simulated import LAST_WORDS_S, SETTINGS, Client, World
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings
from mpkernel.errors import HostDied, KernelFailed, ProtocolError
from mpkernel.server.sessions.journal import Journal, Rebuilt
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.server.supervision.deaths import Death, Reason
from mpkernel.wire.frames import Message


def running(count: int) -> tuple[World, list[Client]]:
    """An app with so many clients, each of which runs a command."""
    world = World(SETTINGS)
    clients = [world.open(with_journal=True) for _ in range(count)]
    host = world.hosts[0]
    for client in clients:
        client.send(Channel.CONTROL, b"x")
    host.is_ready()
    for client in clients:
        host.begin(client)
    return world, clients


def on_trial(world: World, clients: list[Client]) -> list[Client]:
    """After the death of their process and a moment: those that are on a process."""
    world.hosts[0].die()
    world.clock.advance(1.0)
    return [client for client in clients if client.host is not None]


def test_suspects_come_back_one_by_one() -> None:
    world, clients = running(3)
    seen = on_trial(world, clients)
    assert len(seen) == 1
    host = world.hosts[0]
    host.is_ready()
    for count in (2, 3):
        host.begin(seen[-1])
        host.finish(seen[-1])
        world.clock.advance(0)
        new = [client for client in clients if client.host is host and client not in seen]
        assert len(new) == 1
        seen += new
        assert len(seen) == count


def test_nobody_is_suspected_of_the_loss_of_a_worker() -> None:
    world, clients = running(3)
    world.hosts[0].die(Reason.LOST)
    world.clock.advance(1.0)
    assert all(client.host is world.hosts[0] for client in clients)
    assert [client.record.strikes for client in clients] == [0, 0, 0]


def test_who_waits_is_told_how_many_are_back() -> None:
    world, clients = running(3)

    def do_all(client: Client) -> None:
        for _ in client.replay.commands:
            client.host.begin(client)
            client.host.finish(client)

    for _ in range(2):  # the second time, nothing is left of the first
        (first,) = on_trial(world, clients)
        world.clock.advance(1.0)
        world.hosts[0].is_ready()
        for client in clients:
            assert client.told == ([] if client is first else [(0, 3)])
        do_all(first)
        world.clock.advance(2.0)
        (last,) = [client for client in clients if client.host is None]
        assert last.told == [(0, 3), (1, 3)]
        world.hosts[0].is_ready()
        world.go_on(100.0)
        assert last.told == [(0, 3), (1, 3)]
        for client in clients:
            client.told.clear()
            client.send(Channel.CONTROL, b"x")
            client.host.begin(client)


@pytest.mark.parametrize("end", ["close", "kernel's end", "death", "drain", "time"])
def test_the_next_suspect_follows_whatever_ends_the_trial_of_the_one_before(end: str) -> None:
    world, clients = running(2)
    (first,) = on_trial(world, clients)
    (second,) = [client for client in clients if client is not first]
    host = world.hosts[0]
    host.is_ready()
    match end:
        case "close":
            first.stop()
            host.end_kernel(first)
        case "kernel's end":
            host.end_kernel(first, "it failed")
        case "death":  # the back-off, then the same again with the first as the second
            host.die()
            world.clock.advance(5.0)
        case "drain":
            host.drain()
            world.clock.advance(10.0)
        case "time":
            world.clock.advance(10.0)
    world.clock.advance(0)
    assert second.host is not None
    assert second.host.takes_sessions


@pytest.mark.parametrize("index", [0, 1, 2])
def test_sessions_that_never_finish_their_trial_hide_no_culprit(index: int) -> None:
    """One session ends the process each time it runs; the two others run for ever."""
    world, clients = running(3)
    culprit = clients[index]
    world.hosts[0].die(Reason.EXIT)
    deaths = 1
    while not culprit.record.strikes:
        assert deaths < 4
        world.clock.advance(1.0)
        for host in list(world.hosts):
            host.is_ready()
            for client in clients:
                if client.host is host:
                    host.begin(client)
            if culprit.host is host:
                host.die(Reason.EXIT)
                deaths += 1
                world.clock.advance(LAST_WORDS_S)
    assert [client.record.strikes for client in clients if client is not culprit] == [0, 0]


def test_who_waits_comes_back_on_a_process_that_another_session_starts() -> None:
    world, clients = running(2)
    (first,) = on_trial(world, clients)
    (second,) = [client for client in clients if client is not first]
    host = world.hosts[0]
    host.drain()  # the first stays on it
    newcomer = world.open(with_journal=True)
    assert newcomer is not None
    assert newcomer.host is not host
    first.stop()
    host.end_kernel(first)
    world.clock.advance(0)
    assert second.host is newcomer.host


def test_a_restart_brings_back_who_waits_out_a_back_off() -> None:
    world, (client,) = running(1)
    on_trial(world, [client])
    world.hosts[0].die()
    world.clock.advance(0.25)
    assert client.host is None
    world.app.restart()
    world.clock.advance(0.0)
    assert client.host is not None


def test_a_session_that_leaves_with_its_process_comes_back() -> None:
    world, (client,) = running(1)
    world.hosts[0].leave()
    world.clock.advance(1.0)
    assert client.host is world.hosts[0]


def on_two_processes(**settings: int) -> tuple[World, list[Client]]:
    """An app with two processes that have been used for a while, and the clients of the second,
    which dies, in the order in which they come back."""
    world = World(msgspec.structs.replace(SETTINGS, processes_max=2, **settings))
    clients = [world.open(with_journal=True) for _ in range(6)]
    for client in clients:
        client.send(Channel.CONTROL, b"x")
    world.go_on(60.0)
    used, dying = world.hosts
    assert (used.session_count, dying.session_count) == (3, 3)
    lost = dying.sessions
    dying.die()
    return world, [client for client in reversed(clients) if client in lost]


def back(clients: list[Client]) -> list[Client]:
    return [client for client in clients if client.host is not None]


def test_sessions_come_back_on_a_new_process_where_the_others_have_their_number() -> None:
    world, lost = on_two_processes(sessions_per_process=3)
    world.clock.advance(1.0)
    used, new = world.hosts
    assert used.session_count == 3
    assert new.sessions == lost


def test_a_new_process_takes_all_that_wait_when_it_is_ready() -> None:
    world, lost = on_two_processes()
    world.clock.advance(LAST_WORDS_S)
    used, new = world.hosts
    assert [client.host for client in lost] == [used, new, None]
    new.is_ready()
    world.clock.advance(0.0)
    assert lost[2].host is new


@pytest.mark.parametrize("end", ["its values", "its close", "a moment"])
def test_a_process_that_is_used_gets_the_next_session_after_the_one_before(end: str) -> None:
    world, lost = on_two_processes()
    world.refusals = 1  # so that the other process has to take all of them
    world.clock.advance(LAST_WORDS_S)
    (host,) = world.hosts
    for number in (1, 2):
        (*_, latest) = back(lost)
        world.clock.advance(0.1)
        assert len(back(lost)) == number
        match end:
            case "its values":
                host.is_ready()
                host.begin(latest)
                assert len(back(lost)) == number
                host.finish(latest)
            case "its close":
                latest.stop()
                host.end_kernel(latest)
            case "a moment":
                world.clock.advance(0.1)
        world.clock.advance(0.0)
        assert len(back(lost)) == number + 1


def test_the_loop_goes_round_while_many_come_back() -> None:
    world = World(SETTINGS)
    clients = [world.open(with_journal=True) for _ in range(50)]
    world.hosts[0].die()
    moments = []
    while any(client.host is None for client in clients):
        world.clock.slow_s = 0.001
        world.clock.turn()
        moments.append(sum(client.host is not None for client in clients))
    assert len(moments) >= 10
    assert moments == sorted(moments)


class Broken(Journal):
    """A journal that fails in the methods that a test names."""

    def __init__(self, where: str) -> None:
        self.where = where

    def _fail_at(self, where: str) -> None:
        if where == self.where:
            raise RuntimeError(f"broken at {where}")

    def sent(self, channel: Channel, command: object) -> None:
        self._fail_at("sent")

    def progressed(self, begun: int, done: int) -> None:
        self._fail_at("progressed")

    def received(self, payload: bytes) -> None:
        self._fail_at("received")

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        self._fail_at("rebuild")
        too_large = [Message(Channel.CONTROL, bytes(2**20))] if self.where == "size" else []
        return Rebuilt(KernelSpec(entry="kernels:echo"), too_large, 0)

    def notice(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> bytes:
        self._fail_at("notice")
        return b"back"


async def opened(pool: HostPool, where: str) -> Session:
    return await pool.open_session(
        APPS / "kernels.py", kernel=KernelSpec(entry="kernels:echo"), journal=Broken(where)
    )


@pytest.fixture
def settings() -> Settings:
    return Settings(max_frame_bytes=64 * 1024)


@pytest.mark.parametrize("where", ["rebuild", "notice", "size"])
async def test_one_session_that_cannot_come_back_keeps_no_other_away(
    pool: HostPool, where: str
) -> None:
    good = [await opened(pool, "nowhere") for _ in range(2)]
    bad = await opened(pool, where)
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        for session in good:
            assert (await anext(session)).payload == b"back"
            session.send(Channel.CONTROL, b"hello")
            assert (await anext(session)).payload == b"hello"
        with pytest.raises(KernelFailed, match="cannot come back"):
            await anext(bad)
        while bad in pool.hosts[0].sessions:  # its kernel ends, too
            await asyncio.sleep(0)


async def test_an_error_with_what_a_kernel_sends_ends_its_session_alone(pool: HostPool) -> None:
    good, bad = await opened(pool, "nowhere"), await opened(pool, "received")
    for session in (good, bad):
        session.send(Channel.CONTROL, b"hello")
    with pytest.raises(KernelFailed, match="broken at received"):
        await anext(bad)
    assert (await anext(good)).payload == b"hello"
    assert pool.hosts[0].is_alive


async def test_an_error_with_what_the_process_says_of_itself_ends_it(
    pool: HostPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await pool.open_session(APPS / "kernels.py", kernel=KernelSpec(entry="kernels:echo"))
    host = pool.hosts[0]
    monkeypatch.setattr(host._health, "ponged", lambda number: 1 / 0)
    host._health.ping(1)
    with pytest.raises(ProtocolError, match="ZeroDivisionError"):
        await anext(session)
    assert not host.is_alive


class Deaf(QueuedSession):
    """A session whose client cannot be told of its end."""

    def on_end(self, error: Exception | None) -> None:
        super().on_end(error)
        raise RuntimeError("this client cannot be told")


async def test_a_client_that_cannot_be_told_keeps_no_other_from_being_told(
    pool: HostPool,
) -> None:
    kernel = KernelSpec(entry="kernels:echo")
    app = pool.app(APPS / "kernels.py", kernel)
    sessions: list[QueuedSession] = [Deaf(app, "deaf"), QueuedSession(app, "other")]
    for session in sessions:
        app.open(session, kernel)
        await session.started()
    os.kill(pool.hosts[0].pid, signal.SIGKILL)
    for session in sessions:
        with pytest.raises(HostDied):
            await anext(session)
    while app.hosts:
        await asyncio.sleep(0)
    assert app.last_death is not None
    assert app.last_death.reason is Reason.KILLED


def test_sessions_that_wait_are_looked_at_again_after_an_unexpected_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, lost = on_two_processes()
    world.failures = [MemoryError(), MemoryError()]
    world.clock.advance(LAST_WORDS_S)
    assert len(back(lost)) < len(lost)
    world.go_on(5.0)
    assert len(back(lost)) == len(lost)
    assert caplog.text.count("what is due for an app cannot be done") == 1
