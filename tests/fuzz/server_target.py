"""The server's side: a real `App` with its `AppHost`, `Link`, sessions and files, fed by a host
that sends what an input says, while its clients act.

An input is one life of a host. It is taken to its end, or ends with `ProtocolError`; then the host
dies, and the sessions that have a journal go to the next.
"""

from __future__ import annotations

import _posixshmem
import asyncio
import os
import queue
from collections.abc import Callable, Sequence

from mpkernel.client import PythonClient, python_kernel
from mpkernel.client.python_journal import PythonJournal
from mpkernel.errors import HostUnresponsive, MPKernelError, ProtocolError, SessionClosed
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.marimo_backend.server.marimo_session import MarimoSession
from mpkernel.marimo_backend.server.page_stream import PageStream
from mpkernel.server.apps.app import App
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.links.console_relay import ConsoleRelay
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.server.sessions.session import Session
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.watchdog import Watchdog
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel
from shm import Registry, ShmError
from tests.fuzz.corpus import CLIENT, PREFIX
from tests.fuzz.held import HeldHost

__all__ = ["ServerTarget"]

_SETTINGS = Settings(
    start_timeout_s=1e6,
    stop_grace_s=1e6,
    idle_retire_s=None,
    window_bytes=64 * 1024,
    host_window_bytes=1024 * 1024,
    backlog_bytes=256 * 1024,
    max_frame_bytes=1024 * 1024,
    session_files_bytes=1 << 40,
    restart_limit=1_000_000,
    restart_backoff_s=0.0,
    journal_bytes=4096,
    watch_interval_s=None,
)
_KERNEL = KernelSpec(entry="module:main")
_MOST_SESSIONS = 12
_PATIENCE_TURNS = 10
_ENDED = "the process of app.py was ended for what it sent: "
_END_S = 30.0


class ServerTarget:
    """Takes inputs, one after the other.

    Args:
        loop_factory: makes the event loop. Default: asyncio's.
    """

    has_client = True

    def __init__(
        self, loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    ) -> None:
        self._loop = loop_factory()
        self._loop.set_exception_handler(self._on_exception)
        self._relay = ConsoleRelay(forward=False)
        self._faults: list[BaseException] = []
        self._pieces_taken = 0

    def run(self, pieces: Sequence[tuple[int, bytes]]) -> tuple[str, int]:
        """Feed one input. Returns what became of it, and how many pieces were taken.

        Raises:
            Whatever went wrong.
        """
        outcome = self._loop.run_until_complete(self._live(pieces))
        if self._faults:
            faults, self._faults = self._faults, []
            raise faults[0]
        return outcome, self._pieces_taken

    def close(self) -> None:
        """End the tasks and processes that the target has started."""
        self._relay.close()
        self._relay.join(_END_S)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _live(self, pieces: Sequence[tuple[int, bytes]]) -> str:
        life = _Life(self._loop, self._relay)
        self._pieces_taken = 0
        try:
            for number, (pipe, data) in enumerate(pieces):
                if not data:
                    continue
                if pipe == CLIENT:
                    life.act(data)
                    await asyncio.sleep(0)
                elif not await life.say(pipe & 1, data):
                    break
                self._pieces_taken = number + 1
        finally:
            # Some hosts die with what they said last unread.
            await life.end(last_words=pieces[-1][1] if pieces and len(pieces) % 4 == 0 else b"")
        return life.outcome

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        fault = error if isinstance(error, BaseException) else RuntimeError(str(context))
        self._faults.append(fault)


class _Life:
    """An app whose host is held, and its clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop, relay: ConsoleRelay) -> None:
        self._loop = loop
        self._held: list[HeldHost] = []
        self._files = Registry(session_quota_bytes=1 << 40)
        self._hosts: list[AppHost] = []
        self._watchdog: Watchdog[Health] = Watchdog(_SETTINGS, Health.judged)

        def launch_host(app: App, *_: object) -> AppHost:
            held = HeldHost()
            self._held.append(held)
            host = AppHost(app, held.process, loop, relay, self._files, self._watchdog)
            self._hosts.append(host)
            return host

        self._app = App("/nowhere/app.py", _SETTINGS, loop, launch_host)
        self._sessions: list[BaseSession] = []
        self._clients: list[PythonClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_deaf = False  # whether the host reads nothing for now
        self._open_plain()
        self._open_plain()
        self._open_python()
        self._open_marimo()
        self._host = self._hosts[0]

    @property
    def outcome(self) -> str:
        """What became of the input."""
        death = self._app.last_death
        if death is None or death.reason is Reason.KILLED:  # by `end`
            return "taken"
        return f"{death.reason.name}: {death.what.removeprefix(_ENDED)}"

    async def say(self, pipe: int, data: bytes) -> bool:
        """Have the host say this, and the server hear it. False: it hears no more."""
        held = self._held[0]
        prefix = PREFIX.encode()
        if prefix in data:
            data = data.replace(prefix, held.prefix.encode().ljust(len(prefix), b"a"))
        rest = memoryview(data)
        idle_turns, unread = 0, 0
        while rest or unread:
            rest = rest[held.say(pipe, rest) :] if rest else rest
            await asyncio.sleep(0)
            if not self._is_deaf:
                held.listen()
            before, unread = unread, held.unread_bytes(pipe)
            idle_turns = idle_turns + 1 if unread == before else 0
            if idle_turns > _PATIENCE_TURNS:
                async with asyncio.timeout(_END_S):  # else it neither reads nor ends the host
                    await self._host.wait_over()
                return False
        return self._host.is_alive

    def act(self, data: bytes) -> None:
        """Have a client do something."""
        kind, which, channel, *size = (*data, *bytes(6))[:5]
        session = self._sessions[which % len(self._sessions)]
        client = self._clients[which % len(self._clients)]
        try:
            match kind % 10:
                case 0 | 1 if len(self._sessions) >= _MOST_SESSIONS:
                    pass
                case 0:
                    self._open_plain()
                case 1:
                    self._open_python()
                case 2 | 3:
                    payload = bytes(size[0] * size[1] * (40 if kind > 250 else 1))
                    session.send(Channel(1 + channel % 5), payload, "a command")
                case 4:
                    client.run_app()
                case 5:
                    client.set_values({f"v{channel}": size[0] * "x"})
                case 6:
                    client.execute("1 / 0", cell="c")
                case 7:
                    self._read_files()
                case 8:
                    self._make_block()
                case 9 if kind > 220:
                    session.stop()
                case 9 if kind > 160:
                    self._is_deaf = not self._is_deaf
                case 9:
                    self._host._health.ping(channel)
        except (SessionClosed, HostUnresponsive, ProtocolError) as error:
            del error  # as `Session.send` says

    async def end(self, *, last_words: bytes) -> None:
        """Have the host die, and everything end."""
        if self._host.is_alive:
            self._held[0].say(1, memoryview(last_words))
        self._held[0].process.kill()
        async with asyncio.timeout(_END_S):
            await self._host.wait_over()
            self._app.close()
            for host in self._app.hosts:
                host.kill()
                await host.wait_over()
            for session in self._sessions:
                session.end(None)
            await asyncio.gather(*self._tasks)
        for held in self._held:
            held.close()
        if len(self._files) or self._files.total_bytes:
            raise AssertionError(f"files of a dead host: {self._files.snapshot()}")

    def _open(self, session: BaseSession, kernel: KernelSpec) -> None:
        self._app.open(session, kernel)
        self._sessions.append(session)

    def _open_plain(self) -> None:
        session = QueuedSession(self._app, f"plain-{len(self._sessions)}")
        self._open(session, _KERNEL)
        self._tasks.append(self._loop.create_task(_consume(session)))

    def _open_python(self) -> None:
        kernel = python_kernel()
        journal = PythonJournal(kernel, max_bytes=_SETTINGS.journal_bytes)
        session = QueuedSession(self._app, f"python-{len(self._sessions)}", journal)
        self._open(session, kernel)
        client = PythonClient(Session(session))
        self._clients.append(client)
        self._tasks.append(self._loop.create_task(_follow(client)))

    def _open_marimo(self) -> None:
        journal = MarimoJournal(_KERNEL, {}, max_bytes=_SETTINGS.journal_bytes)
        stream = PageStream(queue.Queue(), self._loop)
        stream.start(lambda message: None)
        session = MarimoSession(
            self._app, "marimo", stream, journal, loop=self._loop, pages=_NoPages()
        )
        self._open(session, _KERNEL)

    def _read_files(self) -> None:
        for info in self._files.snapshot().files[:3]:
            try:
                with self._files.lease(info.key) as file:
                    for _ in file.chunks():
                        pass
            except ShmError as error:
                del error  # there is no such block, or it is too short

    def _make_block(self) -> None:
        """What the host announces does exist sometimes. It goes when the host does."""
        prefix = self._held[0].prefix.ljust(len(PREFIX), "a")
        fd = _posixshmem.shm_open(f"/{prefix}1", os.O_CREAT | os.O_RDWR, mode=0o600)
        os.truncate(fd, 300)
        os.close(fd)


class _NoPages:
    """Pages for a session that no page has open."""

    def messages_waiting(self, session_id: str) -> int:
        return 0

    def when_moved(self, session_id: str, call: Callable[[], None]) -> None:
        """Does nothing: there is no page that could move."""

    def has_page(self, session_id: str) -> bool:
        return False

    def show_again(self, session_id: str) -> None:
        """Does nothing: there is no page."""


async def _consume(session: QueuedSession) -> None:
    try:
        async for _ in session:
            pass
    except MPKernelError as error:
        del error  # how it ended


async def _follow(client: PythonClient) -> None:
    while True:
        try:
            await client.next()
        except StopAsyncIteration:
            return
        except ProtocolError:  # a message that is none; or how the session ended
            if client.session.over:
                return
        except MPKernelError:
            return
