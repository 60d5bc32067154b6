"""A host whose code does to its server what it can: it costs itself its life, or harms nobody.

Each attack is one of `apps/forgeries.py` or `apps/floods.py`, in a real process. Beside it a
neighbour, an app of its own, exchanges numbered messages all the time; the server's memory is
looked at meanwhile. After it, the hostile app is opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from halves import host_of, queued_of
from server.conftest import APPS
from server.operators import user_directories
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Session, Settings
from mpkernel.confinement.landlock import version
from mpkernel.errors import HostDied, HostUnresponsive, KernelFailed, MPKernelError, ProtocolError
from mpkernel.kernel.messages import Restarted
from mpkernel.server.operations.crashes import kept_reports, read_report
from mpkernel.server.supervision.deaths import Reason

SENT = "sent-by-an-app"
"""The name of the files whose descriptors are sent."""
HOSTILE, NEIGHBOUR = APPS / "hostile.py", APPS / "kernels.py"
MIB = 1024 * 1024
# What all attacks are given of the server's memory. Windows and limits are set to less than that.
MOST_GROWTH_BYTES = 128 * MIB
# A round trip takes 0.1 ms; beside a flood, with this machine's other work, some dozens.
SLOWEST_S = 5.0

SETTINGS = Settings(
    max_frame_bytes=4 * MIB,
    window_bytes=MIB,
    host_window_bytes=4 * MIB,
    backlog_bytes=4 * MIB,
    stop_grace_s=0.2,
    restart_backoff_s=0.01,
    restart_cool_down_s=0.01,
    crash_reports=10,
    ping_interval_s=0.2,
    watch_interval_s=0.1,
    relay_console=False,
)

ENDS = {
    "garbage": "claims|channel",
    "garbage_on_control": "claims",
    "over_the_limit": "claims 2147483647 bytes",
    "eight_byte_length": "claims -1 bytes",
    "negative_length": "claims -5 bytes",
    "too_short": "claims 0 bytes",
    "unknown_channel": "channel 77, which does not exist",
    "no_msgpack": "is not a management message",
    "wrong_type": "is not a management message",
    "unknown_type": "is not a management message",
    "message_for_a_host": "is not a management message",
    "deep_nesting": "is not a management message",
    "no_text": "is not a management message",
    "pickled": "is not a management message",
    "ready_again": "a second time that it is ready",
    "ready_as_another": "a second time that it is ready",
    "pong_never_asked": "answers ping",
    "warmed": "has an app already",
    "preparing": "that its environment is made, and is ready already",
    "prepared": "that its environment is made, and is ready already",
    "not_prepared": "that its environment is made, and is ready already",
    "negative_credit": "is not a management message",
    "commands_out_of_order": "has begun 1 commands and done 1, after 1|has begun 0",
    "ended_before_it_was_opened": "speaks of session",
    "session_that_there_is_not": "speaks of session 4294967295",
    "session_of_the_host_itself": "output of no session",
    "files_of_a_session_that_there_is_not": "speaks of session 99",
    "forged_places_without_end": "what is not its own, again and again",
    "removals_without_end": "does not take the answers",
    "output_beyond_the_window": "bytes of its sessions wait for clients that do not read",
    "large_output_beyond_the_window": "bytes of its sessions wait for clients that do not read",
    "ready_without_end": "a second time that it is ready",
    "shuts_the_stream": "closed a Pipe, and goes on",
    "closes_the_stream": "closed a Pipe, and goes on",
    "closes_the_control": "closed a Pipe, and goes on",
}
"""The attacks that end their process, and what is said of it."""

HARMS_NOBODY = (
    "truncated_frame",
    "never_ending",
    "huge_credit",
    "created_twice",
    "endless_reason",
    "drains_without_end",
    "console_wishes_without_end",
    "progress_without_end",
    "output_of_an_ended_session",
    "log_without_end",
    "faults_without_end",
    "files_elsewhere",
    "files_without_end",
    "stops_reading",
    "sends_descriptors",
)
"""Those that may go on, for all that it helps them."""


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


class Neighbour:
    """A session of another app that exchanges messages all the time, at most one a millisecond;
    each is asserted."""

    def __init__(self, session: Session) -> None:
        self.turns = 0
        self.most_growth_bytes = MOST_GROWTH_BYTES
        self._session = session
        self._started_bytes = resident_bytes()
        self._task = asyncio.create_task(self._exchange())

    async def _exchange(self) -> None:
        while True:
            began_s = time.monotonic()
            self._session.send(Channel.CONTROL, b"turn %d" % self.turns)
            async with asyncio.timeout(PATIENCE_S):
                answer = await anext(self._session)
            assert answer.payload == b"turn %d" % self.turns
            assert time.monotonic() - began_s < SLOWEST_S
            assert resident_bytes() - self._started_bytes < self.most_growth_bytes
            self.turns += 1
            await asyncio.sleep(0.001)

    async def goes_on(self, turns: int = 100) -> None:
        """Wait until the neighbour has exchanged this number of further messages."""
        goal = self.turns + turns
        while self.turns < goal:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


@asynccontextmanager
async def beside(pool: HostPool) -> AsyncIterator[Neighbour]:
    """A neighbour, which must have heard every answer until the end."""
    session = await pool.open_session(NEIGHBOUR, kernel=KernelSpec(entry="kernels:echo"))
    pid = session.pid
    gc.collect()
    neighbour = Neighbour(session)
    try:
        yield neighbour
        await neighbour.goes_on(20)
        assert session.pid == pid
    finally:
        await neighbour.close()


async def hostile(pool: HostPool, attack: str) -> Session:
    """A session of the hostile app, about to attack."""
    kernel = KernelSpec(entry="hostile:attack", args=attack.encode())
    session = await pool.open_session(HOSTILE, kernel=kernel)
    assert (await anext(session)).payload == b"here"
    return session


async def works_again(pool: HostPool, than: int | None) -> None:
    """The hostile app can be opened, on a process other than that one."""
    session = await pool.open_session(HOSTILE, kernel=KernelSpec(entry="hostile:echo"))
    assert int((await anext(session)).payload) != than
    session.send(Channel.CONTROL, b"hello")
    assert (await anext(session)).payload == b"hello"
    await session.close()


async def end_of(session: Session) -> MPKernelError:
    """What ends the session; what it says before is not taken."""
    async with asyncio.timeout(PATIENCE_S):
        await queued_of(session)._ended.wait()
    assert queued_of(session)._error is not None
    return queued_of(session)._error


@pytest.mark.parametrize("attack", ENDS)
async def test_an_attack_costs_its_process_its_life(
    user: Path, pool: HostPool, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with beside(pool) as neighbour:
        session = await hostile(pool, attack)
        pid = session.pid
        session.send(Channel.CONTROL, b"go")
        error = await end_of(session)
        assert isinstance(error, ProtocolError)
        said = f"the process of hostile.py was ended for what it sent: .*({ENDS[attack]})"
        assert re.search(said, str(error)), error
        await works_again(pool, than=pid)
        await neighbour.goes_on()
        [app] = [app for app in pool.apps if app.path == str(HOSTILE)]
        assert app.last_death is not None
        assert (app.last_death.reason, app.death_count) == (Reason.PROTOCOL, 1)
        logged = [text for text in caplog.messages if "host ended for what it sent" in text]
        assert len(logged) == 1
        assert re.search(f"({ENDS[attack]}).* app={HOSTILE} pid={pid}", logged[0])
    while not (reports := kept_reports()):
        await asyncio.sleep(0.01)
    assert [(one.pid, one.reason) for one in map(read_report, reports)] == [(pid, "protocol")]


@pytest.mark.parametrize("attack", HARMS_NOBODY)
async def test_an_attack_harms_nobody_as_long_as_it_goes_on(
    user: Path, pool: HostPool, attack: str
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    async with beside(pool) as neighbour:
        session = await hostile(pool, attack)
        pid = session.pid
        session.send(Channel.CONTROL, b"go")
        await neighbour.goes_on()
        for key in [info.key for info in pool.files.snapshot().files][:100]:
            with pool.files.lease(key) as file, pytest.raises(KeyError):
                list(file.chunks(0, 10))
        [app] = [app for app in pool.apps if app.path == str(HOSTILE)]
        assert app.death_count == 0
        app.restart()
        await end_of(session) if attack != "output_of_an_ended_session" else None
        for host in app.hosts:
            await host.wait_over()
        await works_again(pool, than=pid)
        await neighbour.goes_on()
        assert len(pool.files.snapshot().files) == 0
    await pool.close()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2


@pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")
@pytest.mark.parametrize("attack", ["sends_descriptors", "hands_over_handles"])
async def test_no_descriptor_that_a_confined_app_sends_stays_in_the_server(attack: str) -> None:
    def received() -> list[str]:
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        return [link for link in links if os.path.exists(link) and SENT in os.readlink(link)]

    settings = msgspec.structs.replace(SETTINGS, confine="strict")
    async with HostPool(settings) as pool, beside(pool) as neighbour:
        session = await hostile(pool, attack)
        session.send(Channel.CONTROL, b"go")
        if attack == "hands_over_handles":
            assert re.search("claims|channel", str(await end_of(session)))
        else:
            while (await anext(session)).payload != b"attacked":
                assert not received()
            assert host_of(session).is_alive
        assert not received()
        await neighbour.goes_on()
        assert not received()


async def test_messages_without_bytes_are_bounded_too(pool: HostPool) -> None:
    async with beside(pool):
        session = await hostile(pool, "empty_output")
        session.send(Channel.CONTROL, b"go")
        assert "wait for a client that does not read" in str(await end_of(session))


async def test_a_session_of_the_same_process_is_not_safe_and_another_app_is(
    pool: HostPool,
) -> None:
    async with beside(pool):
        kernel = KernelSpec(entry="hostile:idle")
        beside_it = await pool.open_session(HOSTILE, kernel=kernel)
        session = await hostile(pool, "ends_another_session")
        assert host_of(beside_it) is host_of(session)
        session.send(Channel.CONTROL, b"go")
        with pytest.raises(KernelFailed, match="ended by another"):
            raise await end_of(beside_it)
        assert (await anext(session)).payload == b"attacked"


async def test_an_endless_traceback_is_cut(pool: HostPool) -> None:
    async with beside(pool):
        session = await hostile(pool, "endless_error")
        session.send(Channel.CONTROL, b"go")
        error = await end_of(session)
        assert isinstance(error, KernelFailed)
        assert 60_000 < len(str(error)) < 70_000


async def test_lines_that_a_reason_would_forge_are_one(
    pool: HostPool, caplog: pytest.LogCaptureFixture
) -> None:
    session = await hostile(pool, "endless_reason")
    session.send(Channel.CONTROL, b"go")
    while not (said := [text for text in caplog.messages if "host drains" in text]):
        await asyncio.sleep(0.001)
    assert len(said[0]) < 500
    assert "\n" not in said[0]


async def test_a_host_that_dies_within_a_frame_is_as_dead_as_any(pool: HostPool) -> None:
    async with beside(pool):
        session = await hostile(pool, "dies_in_a_frame")
        pid = session.pid
        session.send(Channel.CONTROL, b"go")
        with pytest.raises(HostDied, match="exit code 4|code 4"):
            raise await end_of(session)
        await works_again(pool, than=pid)


async def test_a_dead_hosts_pipes_are_not_read_for_ever(pool: HostPool) -> None:
    async with beside(pool):
        session = await hostile(pool, "leaves_a_writer_behind")
        host = host_of(session)
        session.send(Channel.CONTROL, b"go")
        while (await anext(session)).payload != b"still here":
            pass
        session.send(Channel.CONTROL, b"die")
        with pytest.raises((HostDied, ProtocolError)):  # whichever is seen first
            raise await end_of(session)
        await host.wait_over()
        await works_again(pool, than=host.pid)


async def test_commands_that_were_never_sent_cannot_have_been_done(pool: HostPool) -> None:
    async with beside(pool), await PythonClient.open(pool, HOSTILE) as client:
        client.execute(
            "import gc, forgeries, taken_host\n"
            "from mpkernel.host.main import Dispatcher\n"
            "[found] = [one for one in gc.get_objects() if type(one) is Dispatcher]\n"
            "class Half: number = 1\n"
            "class Kernel: _hosted = Half\n"
            "forgeries.more_commands_than_were_sent(taken_host.TakenHost(Kernel, found))\n",
            cell="hostile",
        )
        async for message in client:
            if isinstance(message, Restarted):
                assert "commands, but fewer were sent" in message.reason
                break


async def test_a_host_that_takes_nothing_costs_its_server_no_more_than_a_backlog(
    pool: HostPool,
) -> None:
    """It gives credit for what it has not taken, so that its window is always open."""
    async with beside(pool):
        session = await hostile(pool, "credits_without_taking")
        session.send(Channel.CONTROL, b"go")
        assert (await anext(session)).payload == b"about to"
        with pytest.raises(HostUnresponsive):
            for _ in range(100 * MIB // 65536):
                while session.traffic.waiting_bytes > 2 * 65536:
                    await asyncio.sleep(0.001)
                session.send(Channel.CONTROL, bytes(65536))
        assert host_of(session).backlog_bytes < 3 * SETTINGS.backlog_bytes
        host_of(session).kill()
