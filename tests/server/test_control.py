"""Orders of an operator, and what an operator is told by a server that does not answer them."""

from __future__ import annotations

import asyncio
import os
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Listener
from pathlib import Path

import msgspec
import pytest
from halves import host_of
from kernel.conftest import Client
from loop_factories import LOOP_FACTORIES
from server.conftest import pipes_and_threads
from server.operators import OperatedServer, user_directories
from waiting import until_async

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import HostDied, MPKernelError, PoolClosed
from mpkernel.kernel.messages import Console, Restarted
from mpkernel.private_files import private_runtime_directory
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.hosts.lifecycle import State
from mpkernel.server.operations import operations
from mpkernel.server.operations.crashes import kept_reports
from mpkernel.server.operations.finding import published_servers
from mpkernel.server.operations.orders import (
    Answer,
    Drain,
    Order,
    Restart,
    Stop,
    give_order,
    read_history,
)
from shm.names import next_name

APP = Path(__file__).parent / "apps" / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def settings() -> Settings:
    return Settings(snapshot=True, control=True, crash_reports=10)


@pytest.fixture
async def server(user: Path, settings: Settings) -> AsyncIterator[HostPool]:
    before = pipes_and_threads()
    async with HostPool(settings) as pool:
        yield pool
    assert not pipes_and_threads() - before, "descriptors or threads left behind"


async def give(order: Order) -> Answer:
    """Give an order to this process's server, as another process would."""
    while not (found := published_servers()):
        await asyncio.sleep(0.02)
    return await asyncio.to_thread(give_order, order, found[0].path)


class TestRestart:
    async def test_brings_sessions_back_on_a_fresh_process(
        self, user: Path, server: HostPool
    ) -> None:
        app = user / "app.py"
        app.write_text("n = 1\n# %%\nprint(n)\n")
        async with await Client.open(server, app) as client:
            client.run_app()
            client.set_values({"n": 42})
            await client.wait_for(Console, text="42\n")
            [host] = server.hosts
            answer = await give(Restart(str(app)))
            assert answer == Answer(True, "app.py restarts: 1 process, 1 session")
            restarted = await client.wait_for(Restarted)
            assert restarted.reason == (
                "the process of app.py was restarted by the server's operator"
            )
            await client.wait_for(Console, text="42\n")
            assert [one.pid for one in server.hosts] != [host.pid]

    async def test_tells_sessions_that_cannot_come_back(self, server: HostPool) -> None:
        session = await server.open_session(APP, kernel=ECHO)
        await give(Restart(str(APP)))
        with pytest.raises(HostDied, match="restarted by the server's operator"):
            await anext(session)

    async def test_may_be_repeated_without_end_and_is_no_crash(self, server: HostPool) -> None:
        for _ in range(server.settings.restart_limit + 2):
            session = await server.open_session(APP, kernel=ECHO)
            await give(Restart(str(APP)))
            with pytest.raises(HostDied):
                await anext(session)
        await server.open_session(APP, kernel=ECHO)
        assert kept_reports() == []

    async def test_of_many_processes_counts_as_none_of_their_deaths(self, user: Path) -> None:
        settings = Settings(snapshot=True, control=True, restart_limit=0)
        async with HostPool(settings) as pool:
            for _ in range(3):  # each leaves with its session
                await pool.open_session(APP, kernel=ECHO)
                await give(Drain(str(APP)))
            hosts = pool.hosts
            await give(Restart(str(APP)))
            for host in hosts:
                await host.wait_over()
            await pool.open_session(APP, kernel=ECHO)

    async def test_ends_the_cool_down_of_an_app_that_died_too_often(
        self, user: Path, settings: Settings
    ) -> None:
        settings = Settings(snapshot=True, control=True, restart_limit=0)
        async with HostPool(settings) as pool:
            session = await pool.open_session(APP, kernel=KernelSpec(entry="kernels:segfault"))
            with pytest.raises(HostDied):
                await anext(session)
            [app] = pool.apps
            assert app.is_failed
            for host in pool.hosts:
                await host.wait_over()
            answer = await give(Restart(str(APP)))
            assert answer == Answer(True, "kernels.py has no process; one may start now")
            await pool.open_session(APP, kernel=ECHO)


class TestOneProcess:
    async def test_is_restarted_or_drained_alone(self, user: Path) -> None:
        settings = Settings(snapshot=True, control=True, processes_max=3, sessions_per_process=1)
        async with HostPool(settings) as pool:
            sessions = [await pool.open_session(APP, kernel=ECHO) for _ in range(3)]
            first, second, third = pool.hosts
            answer = await give(Restart(str(APP), process=first.pid))
            assert answer.text == f"kernels.py restarts: process {first.pid}, 1 session"
            answer = await give(Drain(str(APP), process=second.pid))
            assert answer.text == (
                f"kernels.py drains: process {second.pid}, 1 session;"
                " new sessions get another process"
            )
            with pytest.raises(HostDied):
                await anext(sessions[0])
            await first.wait_over()
            await sessions[1].close()
            await second.wait_over()
            assert pool.hosts == [third]
            answer = await give(Drain(str(APP), process=first.pid))
            assert answer == Answer(False, f"kernels.py has no process {first.pid}")

    async def test_follows_another_in_a_rolling_restart(self, user: Path) -> None:
        settings = Settings(snapshot=True, control=True, processes_max=2, sessions_per_process=1)
        async with HostPool(settings) as pool:
            for _ in range(2):
                await pool.open_session(APP, kernel=ECHO)
            old = pool.hosts
            answer = await give(Restart(str(APP), rolling=True))
            assert answer.text == (
                "kernels.py restarts one process after another: 2 processes, 2 sessions"
            )
            for host in old:
                await host.wait_over()
            assert not set(pool.hosts) & set(old)


class TestDrain:
    async def test_gives_new_sessions_a_fresh_process_and_leaves_the_others(
        self, server: HostPool
    ) -> None:
        old = await server.open_session(APP, kernel=ECHO)
        [host] = server.hosts
        answer = await give(Drain(str(APP)))
        assert answer.text == (
            "kernels.py drains: 1 process, 1 session; new sessions get a fresh process"
        )
        new = await server.open_session(APP, kernel=ECHO)
        assert host_of(new) is not host
        old.send(Channel.CONTROL, b"still here")
        assert (await anext(old)).payload == b"still here"
        await old.close()
        await host.wait_over()
        assert server.hosts == [host_of(new)]


class TestStop:
    async def test_drains_the_pool(self, server: HostPool) -> None:
        session = await server.open_session(APP, kernel=ECHO)
        assert (await give(Stop())).done
        with pytest.raises((PoolClosed, StopAsyncIteration)):
            await anext(session)
        while published_servers():
            await asyncio.sleep(0.02)
        assert server.closed
        assert server.hosts == []

    async def test_does_what_the_server_says_it_does(self, user: Path, settings: Settings) -> None:
        asked = asyncio.Event()
        pool = HostPool(settings)
        pool.start(stop=asked.set)
        assert (await give(Stop())).done
        await asked.wait()
        assert not pool.closed
        await pool.close()


async def test_an_unknown_app_is_refused(server: HostPool) -> None:
    assert await give(Restart("/no/app.py")) == Answer(False, "it has no app /no/app.py")


@pytest.mark.parametrize("process", [-1, 0, 1, 2**62])
async def test_a_process_that_is_not_the_apps_is_refused(server: HostPool, process: int) -> None:
    await server.open_session(APP, kernel=ECHO)
    answer = await give(Restart(str(APP), process=process))
    assert answer == Answer(False, f"kernels.py has no process {process}")


async def test_an_order_of_any_text_is_logged_on_a_line_of_some_length(
    server: HostPool, caplog: pytest.LogCaptureFixture
) -> None:
    await give(Restart("\x1b[2J\n" * 10_000, who="\x1b]0;evil\x07"))
    [line] = [one.getMessage() for one in caplog.records if "order of" in one.getMessage()]
    assert line.isprintable()
    assert len(line) < 20_000


async def test_a_loop_that_stands_still_is_said_to(
    server: HostPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_LOOP_PATIENCE_S", 0.5)
    host = (await server.open_session(APP, kernel=ECHO)).host
    answers: list[Answer] = []
    while not (found := published_servers()):
        await asyncio.sleep(0.02)
    operator = threading.Thread(
        target=lambda: answers.append(give_order(Restart(str(APP)), found[0].path))
    )
    operator.start()
    operator.join()  # on the loop's thread
    assert answers == [Answer(False, "its event loop has stood still for 0.5 s")]
    await asyncio.sleep(0)  # what was refused is not carried out later
    assert server.hosts == [host]
    assert host is not None
    assert host.state is State.READY


@pytest.mark.parametrize("kind", LOOP_FACTORIES)
def test_a_loop_that_does_not_run_is_said_to_and_obeys_when_it_runs_soon(
    user: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    order = Restart(str(APP))
    with asyncio.Runner(loop_factory=LOOP_FACTORIES[kind]) as runner:
        pool = HostPool(settings)
        host = runner.run(opened_in(pool))
        path = published_servers()[0].path
        monkeypatch.setattr(operations, "_NO_RUN_PATIENCE_S", 0.1)
        answer = give_order(order, path)
        assert answer == Answer(False, "its event loop does not run: its program runs other code")
        runner.run(asyncio.sleep(0))  # what was refused is not carried out later
        assert pool.hosts == [host]
        monkeypatch.setattr(operations, "_NO_RUN_PATIENCE_S", 60)
        with ThreadPoolExecutor(1) as operator:
            given = operator.submit(give_order, order, path)
            wait([given], timeout=0.1)  # it most likely waits by now
            assert runner.run(answer_of(given)).done
        runner.run(pool.close())


async def answer_of(given: Future[Answer]) -> Answer:
    return await asyncio.wrap_future(given)


async def opened_in(pool: HostPool) -> AppHost | None:
    """The process of a session that was opened. The pool's snapshot is there, too."""
    pool.start(stop=lambda: None)
    session = await pool.open_session(APP, kernel=ECHO)
    await until_async(published_servers)
    return host_of(session)


async def test_without_control_there_is_no_socket(user: Path) -> None:
    async with HostPool(Settings(snapshot=True)):
        while not (found := published_servers()):
            await asyncio.sleep(0.02)
        assert not found[0].snapshot.has_control
        assert [path.suffix for path in found[0].path.parent.iterdir()] == [".json"]
        with pytest.raises(MPKernelError, match="did not answer"):
            give_order(Stop(), found[0].path)


def test_a_stopped_server_costs_the_operator_a_time_out(user: Path) -> None:
    with OperatedServer(user) as server:
        [found] = published_servers()
        server.stop()
        with pytest.raises(MPKernelError, match=r"did not answer within 0\.5 s"):
            give_order(Stop(), found.path, patience_s=0.5)
        server.go_on()
        assert give_order(Restart(str(server.app)), found.path).done


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"\xc1",
        b"\x90" + bytes(100_000),
        b"\x82\xa1x" + b"\x91" * 60_000,
        b"\x83\xa4last\x01\xa6curves\xdd\xff\xff\xff\xff",
        msgspec.msgpack.encode({"last": "1", "curves": [], "orders": []}),
        None,
    ],
)
def test_whoever_answers_as_no_server_does_costs_an_error(user: Path, says: bytes | None) -> None:
    path = private_runtime_directory() / f"{next_name()}.json"
    path.with_suffix(".key").write_bytes(b"key")

    def answer() -> None:
        with listener.accept() as connection:
            connection.recv_bytes()
            if says is not None:
                connection.send_bytes(says)
            else:  # it announces more than there may be
                os.write(connection.fileno(), struct.pack("!i", 2**31 - 1))

    with Listener(str(path.with_suffix(".sock")), "AF_UNIX", authkey=b"key") as listener:
        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(MPKernelError, match="did not answer"):
            read_history(path)
        server.join()


def test_a_key_that_is_no_file_costs_an_error(user: Path) -> None:
    path = private_runtime_directory() / f"{next_name()}.json"
    os.mkfifo(path.with_suffix(".key"))
    with pytest.raises(MPKernelError, match="did not answer"):
        give_order(Stop(), path)
