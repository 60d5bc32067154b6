"""Sessions as a user of the library sees them, with real hosts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from halves import host_of, queued_of
from server.conftest import APPS, Open, ask
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import (
    AppNotFound,
    HostDied,
    HostUnresponsive,
    PoolClosed,
    ProtocolError,
    SessionClosed,
)
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.wire.frames import MESSAGE_COST_BYTES


async def test_a_kernel_answers_its_client(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    assert await ask(session, b"hello") == b"hello"
    assert await ask(session, b"") == b""


async def test_a_kernel_that_is_alone_in_use_is_stopped_and_makes_room_for_others_as_ever(
    open_kernel: Open,
) -> None:
    first = await open_kernel("echo")
    for number in range(20):  # its thread reads the Pipe itself by now
        assert await ask(first, b"%d" % number) == b"%d" % number
    second = await open_kernel("echo")
    for number in range(20):
        assert await ask(first, b"first %d" % number) == b"first %d" % number
        assert await ask(second, b"second %d" % number) == b"second %d" % number
    for number in range(20):
        assert await ask(second, b"%d" % number) == b"%d" % number
    for session in (second, first):
        session.stop()
        assert [message async for message in session] == []


async def test_sessions_of_an_app_share_its_process_and_another_app_has_its_own(
    open_kernel: Open, tmp_path: Path
) -> None:
    other = tmp_path / "kernels.py"
    other.write_text((APPS / "kernels.py").read_text())
    first, second = await open_kernel("pid"), await open_kernel("pid")
    third = await open_kernel("pid", app=other)
    pids = [int((await anext(session)).payload) for session in (first, second, third)]
    assert pids[0] == pids[1] == first.pid
    assert pids[2] == third.pid
    assert len({*pids, os.getpid()}) == 3


async def test_two_apps_get_their_own_module_of_the_same_name(pool: HostPool) -> None:
    kernel = KernelSpec(entry="app:main")
    for name in ("first", "second"):
        session = await pool.open_session(APPS / name / "app.py", kernel=kernel)
        assert (await anext(session)).payload == name.encode()


async def test_a_session_hears_nothing_of_another(open_kernel: Open) -> None:
    sessions = [await open_kernel("echo") for _ in range(5)]
    for turn in range(20):
        for number, session in enumerate(sessions):
            session.send(Channel.CONTROL, f"{turn} of {number}".encode())
    for number, session in enumerate(sessions):
        for turn in range(20):
            assert (await anext(session)).payload == f"{turn} of {number}".encode()


@pytest.mark.parametrize("size", [1_000_000, 16_000_000, 200_000_000])
async def test_a_large_output_arrives_whole(open_kernel: Open, size: int) -> None:
    session = await open_kernel("fill")
    payload = await ask(session, str(size).encode())
    pattern = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert hashlib.sha256(payload).digest() == hashlib.sha256(pattern).digest()


async def test_a_message_over_the_limit_is_refused_and_the_session_goes_on(
    open_kernel: Open,
) -> None:
    session = await open_kernel("echo")
    with pytest.raises(ProtocolError, match="max_frame_bytes"):
        session.send(Channel.CONTROL, bytes(256 * 1024 * 1024))
    assert await ask(session, b"still here") == b"still here"


async def test_a_command_right_after_opening_is_never_lost(pool: HostPool) -> None:
    kernel = KernelSpec(entry="kernels:echo")
    await (await pool.open_session(APPS / "kernels.py", kernel=kernel)).close()
    app = pool.app(APPS / "kernels.py", kernel)
    for batch in range(25):
        sessions = [QueuedSession(app, f"{batch}-{n}") for n in range(200)]
        for session in sessions:
            app.open(session, kernel)
            session.send(Channel.CONTROL, session.session_id.encode())
        for session in sessions:
            assert (await anext(session)).payload == session.session_id.encode()
        for session in sessions:
            session.stop()
            assert [message async for message in session] == []
    assert app.hosts[0].session_count == 0


async def test_what_a_kernel_sent_before_it_returned_is_read_to_the_end(open_kernel: Open) -> None:
    session = await open_kernel("leave_at_once")
    assert [message.payload async for message in session] == [b"last words"]
    with pytest.raises(SessionClosed, match="open a new session"):
        session.send(Channel.CONTROL, b"too late")


async def test_a_closed_session_ends_its_iteration_and_its_kernel(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    reading = asyncio.create_task(anext(session, None))
    await asyncio.sleep(0)
    await session.close()
    assert await reading is None
    assert host_of(session).session_count == 0
    await session.close()


async def test_closing_a_session_whose_kernel_spins_returns(open_kernel: Open) -> None:
    session = await open_kernel("spin")
    assert (await anext(session)).payload == b"spinning"
    await session.close()
    assert host_of(session).session_count == 1


async def test_a_cancelled_opening_leaves_no_session(pool: HostPool, open_kernel: Open) -> None:
    warm = await open_kernel("echo")
    opening = asyncio.create_task(open_kernel("echo"))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(PATIENCE_S):
        while host_of(warm).session_count > 1:
            await asyncio.sleep(0.001)
    assert await ask(warm, b"still here") == b"still here"
    await pool.close()
    assert host_of(warm).session_count == 0


@pytest.mark.parametrize("flood", ["flood", "flood_of_bytes"])
async def test_a_reader_that_is_behind_holds_back_its_own_kernel_only(
    open_kernel: Open, flood: str
) -> None:
    flooding, neighbour = await open_kernel(flood), await open_kernel("echo")
    window = Settings().window_bytes
    while queued_of(flooding).unread_bytes < window - 65536 - MESSAGE_COST_BYTES:
        await asyncio.sleep(0.001)
    for turn in range(100):
        assert await ask(neighbour, str(turn).encode()) == str(turn).encode()
    assert queued_of(flooding).unread_bytes <= window
    taken = 0
    while taken < 3 * window:
        taken += len((await anext(flooding)).payload) + MESSAGE_COST_BYTES
    await flooding.close()


async def test_a_kernel_that_takes_nothing_fills_its_window_and_then_refuses(
    pool: HostPool, open_kernel: Open
) -> None:
    deaf, neighbour = await open_kernel("deaf"), await open_kernel("echo")
    payload = bytes(1024 * 1024)
    with pytest.raises(HostUnresponsive, match="takes no input"):
        for _ in range(200):
            deaf.send(Channel.CONTROL, payload)
    assert await ask(neighbour, b"fine") == b"fine"


async def test_a_stopped_process_refuses_when_its_backlog_is_full(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    pid = session.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(HostUnresponsive):
        for _ in range(200):
            session.send(Channel.CONTROL, bytes(1024 * 1024))
    os.kill(pid, signal.SIGCONT)
    assert len((await anext(session)).payload) == 1024 * 1024


async def test_sends_from_many_threads_arrive_each_in_its_order(open_kernel: Open) -> None:
    session = await open_kernel("echo")

    def send(name: int) -> None:
        for number in range(200):
            session.send(Channel.CONTROL, f"{name} {number}".encode() + b" " * (number * 50))

    await asyncio.gather(*(asyncio.to_thread(send, name) for name in range(4)))
    last = dict.fromkeys(range(4), -1)
    for _ in range(800):
        name, number = map(int, (await anext(session)).payload.split())
        assert number == last[name] + 1
        last[name] = number


async def test_a_second_task_that_iterates_is_refused_and_the_first_goes_on(
    open_kernel: Open,
) -> None:
    session = await open_kernel("echo")
    first = asyncio.ensure_future(anext(session))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task waits"):
        await anext(session)
    session.send(Channel.CONTROL, b"hello")
    assert (await first).payload == b"hello"
    cancelled = asyncio.ensure_future(anext(session))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await ask(session, b"again") == b"again"


async def test_a_killed_process_ends_its_sessions_with_the_reason(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    os.kill(session.pid, signal.SIGKILL)
    with pytest.raises(HostDied, match=r"kernels\.py was killed by SIGKILL"):
        await anext(session)
    fresh = await open_kernel("echo")
    assert await ask(fresh, b"again") == b"again"
    assert host_of(fresh) is not host_of(session)


async def test_the_last_lines_of_a_dead_process_are_kept(open_kernel: Open) -> None:
    session = await open_kernel("exit_the_process")
    with pytest.raises(HostDied, match="exit code 7"):
        await anext(session)
    assert "about to leave" in host_of(session).last_lines()


async def test_a_crash_leaves_the_traceback_of_every_thread(open_kernel: Open) -> None:
    session = await open_kernel("segfault")
    with pytest.raises(HostDied, match="SIGSEGV"):
        await anext(session)
    report = "\n".join(host_of(session).last_lines())
    assert "Segmentation fault" in report
    assert "in segfault" in report


async def test_a_process_that_sends_garbage_is_ended_and_no_other(
    open_kernel: Open, tmp_path: Path
) -> None:
    other = tmp_path / "kernels.py"
    other.write_text((APPS / "kernels.py").read_text())
    neighbour = await open_kernel("echo", app=other)
    session = await open_kernel("garbage")
    session.send(Channel.CONTROL, b"go")
    with pytest.raises(ProtocolError, match="claims"):
        await anext(session)
    assert await ask(neighbour, b"fine") == b"fine"


async def test_user_code_that_closes_every_descriptor_ends_its_own_process(
    open_kernel: Open,
) -> None:
    session = await open_kernel("close_descriptors")
    session.send(Channel.CONTROL, b"go")
    with pytest.raises(HostDied):
        await anext(session)


async def test_an_app_that_is_not_there_is_said_to_be_so(pool: HostPool, tmp_path: Path) -> None:
    with pytest.raises(AppNotFound, match="nowhere"):
        await pool.open_session(tmp_path / "nowhere.py", kernel=KernelSpec(entry="a:b"))


async def test_a_path_that_is_not_utf8_is_refused(pool: HostPool, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.py"
    with open(path, "w"), pytest.raises(AppNotFound, match=r"udcff.py' is not UTF-8"):
        await pool.open_session(os.fsdecode(path), kernel=KernelSpec(entry="json:loads"))


async def test_a_closed_pool_refuses(pool: HostPool, open_kernel: Open) -> None:
    session = await open_kernel("echo")
    await pool.close()
    with pytest.raises(PoolClosed):
        await open_kernel("echo")
    with pytest.raises(PoolClosed):
        await anext(session)


async def test_closing_in_any_order_and_twice_is_fine(pool: HostPool, open_kernel: Open) -> None:
    sessions = [await open_kernel("echo") for _ in range(3)]
    closing = [asyncio.create_task(pool.close())]
    closing += [asyncio.create_task(session.close()) for session in sessions]
    closing.append(asyncio.create_task(pool.close()))
    closing[0].cancel()
    await asyncio.gather(*closing[1:])
    await pool.close()


@pytest.mark.parametrize("name", ["spin", "spin_in_c"])
async def test_a_pool_closes_although_a_kernel_spins(
    pool: HostPool, open_kernel: Open, name: str
) -> None:
    session = await open_kernel(name)
    assert (await anext(session)).payload == b"spinning"
    await pool.close()
    assert pool.hosts == []


class TestIdle:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(idle_retire_s=0)

    async def test_a_process_without_sessions_retires(
        self, pool: HostPool, open_kernel: Open
    ) -> None:
        session = await open_kernel("echo")
        await session.close()
        async with asyncio.timeout(PATIENCE_S):
            await host_of(session).wait_over()
        assert pool.hosts == []


class TestStart:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(start_timeout_s=0.5)

    async def test_a_process_that_is_not_ready_in_time_is_ended(
        self, open_kernel: Open, tmp_path: Path
    ) -> None:
        from mpkernel.errors import HostStartError

        (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
        with pytest.raises(HostStartError, match="not ready within"):
            await open_kernel("echo", env={"PYTHONPATH": str(tmp_path)})


class TestPauseOfTheServer:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(start_timeout_s=2.5, restart_limit=0)

    async def test_a_process_that_starts_is_not_ended_for_it(self, open_kernel: Open) -> None:
        """When a container is frozen, both the server and its processes stop."""
        before = set(psutil.Process().children())
        opening = asyncio.create_task(open_kernel("echo"))
        while not (started := set(psutil.Process().children()) - before):
            await asyncio.sleep(0)
        for process in started:
            process.suspend()
        time.sleep(3)
        for process in started:
            process.resume()
        await (await opening).close()
