"""What the server may rely on of each `Process`, its `Link` and its `Launcher`, as tests.

A subclass gives the launcher, see `test_local_process`. What the process is to do stands in a
module that it is told to import, as one that waits for an app is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from mpkernel.errors import HostUnresponsive, ProtocolError
from mpkernel.server.launching.death_watch import DeathWatch
from mpkernel.server.launching.process import Launcher, Process, ProcessToLaunch
from mpkernel.server.links.link import Link, LinkEvents
from mpkernel.settings import Settings
from mpkernel.wire.before_host import Prepared, Preparing
from mpkernel.wire.frames import Channel, Frame
from mpkernel.wire.messages import (
    FileStorage,
    Ping,
    Pong,
    Ready,
    Setup,
    Stopping,
    UpMessage,
    Warm,
    Warmed,
    decode_up,
    encode,
)

BACKLOG_BYTES = 100_000
MAX_FRAME_BYTES = 50_000
NO_SESSION = 7  # a process drops what is for a session that it was not given


class Launched:
    """A process that waits for an app, its link, and what came of both."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.frames: list[Frame] = []
        self.errors: list[ProtocolError] = []
        self.came = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.died = asyncio.Event()
        self.link: Link = self.connect()
        self.death_watch = DeathWatch(process, asyncio.get_running_loop(), self.died.set)

    def connect(self) -> Link:
        self.link = self.process.connect(
            "app.py",
            asyncio.get_running_loop(),
            LinkEvents(self._take, self.errors.append, on_hang_up=self.hung_up.set),
            backlog_bytes=BACKLOG_BYTES,
            max_frame_bytes=MAX_FRAME_BYTES,
        )
        return self.link

    def have_it_import(self, module: str) -> None:
        self.link.send(Channel.MANAGEMENT, 0, encode(Warm([module], at_low_priority=False)))

    async def imported(self, module: str) -> None:
        """It has imported this, and says so."""
        self.have_it_import(module)
        assert isinstance(await self.said(), Warmed)

    async def said(self) -> UpMessage:
        """The next message of the process."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.frames:
                self.came.clear()
                await self.came.wait()
        return decode_up(self.frames.pop(0).payload)

    async def serve(self, app: Path) -> None:
        """It is told its app, and says that it is ready."""
        settings = Settings()
        setup = Setup(
            app=str(app),
            argv=[str(app)],
            max_frame_bytes=settings.max_frame_bytes,
            host_window_bytes=settings.host_window_bytes,
            files=FileStorage(
                kind=settings.file_storage,
                fallback=settings.file_fallback,
                session_quota_bytes=settings.session_files_bytes,
                quota_bytes=settings.files_bytes,
                recycled_bytes=settings.recycled_files_bytes,
                recycled_age_s=settings.recycled_files_age_s,
            ),
            stopping=Stopping(
                interrupt_grace_s=settings.interrupt_grace_s, max_abandoned=settings.max_abandoned
            ),
        )
        self.link.send(Channel.MANAGEMENT, 0, encode(setup))
        assert isinstance(await self.said(), Ready)

    async def gone(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.died.wait()

    def close(self) -> None:
        self.death_watch.close()
        self.link.close()
        self.process.close()
        self.process.end_strays()
        self.process.close_console()

    def _take(self, frames: list[Frame]) -> None:
        """Keep all but what is said while there is no process yet."""
        self.frames += [
            one for one in frames if not isinstance(decode_up(one.payload), Preparing | Prepared)
        ]
        self.came.set()


Write = Callable[[str, str], None]
Launch = Callable[..., Launched]


def read_to_the_end(fd: int) -> bytes:
    """What is written there until nobody is left who could."""
    os.set_blocking(fd, True)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


class ProcessContract:
    """The tests of a launcher, its processes and their links."""

    @pytest.fixture
    def launcher(self) -> Launcher:
        """The launcher to test."""
        raise NotImplementedError

    @pytest.fixture
    def write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
        """Writes a module that processes which are launched from then on can import."""
        monkeypatch.syspath_prepend(tmp_path)

        def write(name: str, code: str) -> None:
            (tmp_path / f"{name}.py").write_text(code)

        return write

    @pytest.fixture
    async def launch(self, launcher: Launcher) -> AsyncIterator[Launch]:
        launched = []

        def launch(env: Mapping[str, str] | None = None) -> Launched:
            launched.append(Launched(launcher.launch(ProcessToLaunch("app.py", env=env))))
            return launched[-1]

        yield launch
        for one in launched:
            one.close()

    async def test_what_is_sent_to_it_arrives_and_what_it_says_is_handed_over(
        self, launch: Launch, write: Write
    ) -> None:
        write("nothing_to_do", "")
        launched = launch()
        await launched.imported("nothing_to_do")
        assert launched.link.sent_count == 1
        assert launched.link.whole_bytes > 0
        assert launched.link.backlog_bytes == 0
        assert launched.process.status() is None
        assert not launched.errors

    async def test_a_second_link_goes_on_where_the_first_was_closed(
        self, launch: Launch, write: Write, tmp_path: Path
    ) -> None:
        write("first", "")
        launched = launch()
        await launched.imported("first")
        launched.link.close()
        launched.link.close()
        launched.link.send(Channel.MANAGEMENT, 0, b"nobody gets this")
        launched.connect()
        await launched.serve(tmp_path / "app.py")
        assert not launched.errors

    async def test_one_that_does_not_read_is_sent_no_more_than_its_backlog(
        self, launch: Launch, write: Write
    ) -> None:
        write("endless", "import threading; threading.Event().wait()")
        launched = launch()
        launched.have_it_import("endless")
        with pytest.raises(HostUnresponsive, match=r"app\.py"):
            for _ in range(100_000):
                launched.link.send(Channel.CONTROL, NO_SESSION, bytes(10_000))
        assert 0 < launched.link.backlog_bytes <= BACKLOG_BYTES + 20_000
        launched.link.send(Channel.MANAGEMENT, 0, b"never refused")
        launched.link.send(Channel.CONTROL, NO_SESSION, bytes(10_000), refusable=False)
        await asyncio.to_thread(launched.link.close_sending)
        assert launched.link.backlog_bytes == 0
        launched.link.send(Channel.CONTROL, NO_SESSION, bytes(10_000))
        assert launched.link.backlog_bytes == 0

    async def test_a_frame_over_the_maximum_is_refused(self, launch: Launch) -> None:
        launched = launch()
        with pytest.raises(ProtocolError):
            launched.link.send(Channel.CONTROL, NO_SESSION, bytes(MAX_FRAME_BYTES + 1))
        assert launched.link.sent_count == 0

    async def test_frames_of_many_threads_arrive_whole(
        self, launch: Launch, tmp_path: Path
    ) -> None:
        launched = launch()
        await launched.serve(tmp_path / "app.py")
        payload = bytes(1000)

        def send() -> None:
            for _ in range(1000):
                launched.link.send(Channel.CONTROL, NO_SESSION, payload, refusable=False)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        launched.link.send(Channel.MANAGEMENT, 0, encode(Ping(1)))
        assert await launched.said() == Pong(1)  # a torn frame would have ended it
        assert launched.link.sent_count == 4002

    async def test_its_environment_is_the_one_that_is_given(
        self, launch: Launch, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OF_THE_SERVER", "secret")
        write("shows", "import os; os.write(1, repr(os.environ).encode())")
        launched = launch({"OF_THE_APP": "here", "PATH": os.environ["PATH"]})
        await launched.imported("shows")
        launched.process.kill()
        shown = await asyncio.to_thread(read_to_the_end, launched.process.stdout)
        assert b"'OF_THE_APP': 'here'" in shown
        assert b"secret" not in shown

    async def test_what_it_writes_can_be_read_after_its_end(
        self, launch: Launch, write: Write
    ) -> None:
        write("writes", "import os; os.write(1, b'out'); os.write(2, b'err'); os.abort()")
        launched = launch()
        launched.have_it_import("writes")
        await launched.gone()
        status = launched.process.status()
        assert status is not None
        assert status.signal == signal.SIGABRT
        process = launched.process
        process.close()
        assert await asyncio.to_thread(read_to_the_end, process.stdout) == b"out"
        assert await asyncio.to_thread(read_to_the_end, process.stderr) == b"err"
        faults = await asyncio.to_thread(read_to_the_end, process.faults)
        assert b"Fatal Python error: Aborted" in faults
        assert b"writes.py" in faults

    async def test_its_exit_code_is_known(self, launch: Launch, write: Write) -> None:
        write("leaves", "import os; os._exit(7)")
        launched = launch()
        launched.have_it_import("leaves")
        await launched.gone()
        status = launched.process.status()
        assert status is not None
        assert (status.code, status.signal) == (7, None)
        launched.process.close()
        assert launched.process.status() == status

    async def test_what_it_said_last_is_handed_over_after_its_end(
        self, launch: Launch, write: Write
    ) -> None:
        write("goes_soon", "import os, threading; threading.Timer(0.05, os._exit, (0,)).start()")
        launched = launch()
        launched.have_it_import("goes_soon")
        await launched.gone()
        while not launched.link.drain():
            await asyncio.sleep(0)
        [frame] = launched.frames
        assert isinstance(decode_up(frame.payload), Warmed)
        launched.link.send(Channel.CONTROL, NO_SESSION, b"to nobody")

    async def test_it_can_be_killed_from_any_thread_and_more_than_once(
        self, launch: Launch
    ) -> None:
        launched = launch()
        await asyncio.to_thread(launched.process.kill)
        launched.process.kill()
        await launched.gone()
        status = launched.process.status()
        assert status is not None
        assert status.signal == signal.SIGKILL
        await asyncio.to_thread(launched.process.reap)
        launched.process.kill()
        launched.process.reap()
        assert launched.process.status() == status

    async def test_its_end_hangs_the_link_up(self, launch: Launch, write: Write) -> None:
        write("ready", "")
        launched = launch()
        await launched.imported("ready")
        launched.process.kill()
        async with asyncio.timeout(PATIENCE_S):
            await launched.hung_up.wait()
        assert not launched.errors

    async def test_what_it_started_ends_with_it(self, launch: Launch, write: Write) -> None:
        write("starts", "import subprocess; subprocess.Popen(['sleep', '600'], process_group=0)")
        launched = launch()
        await launched.imported("starts")
        launched.process.kill()
        await launched.gone()
        await asyncio.to_thread(launched.process.end_strays)
        # The child has the other end, too: it is read to the end only when the child is gone.
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(read_to_the_end, launched.process.stdout)

    async def test_closing_it_ends_it_and_leaves_no_descriptor(
        self, launcher: Launcher, write: Write
    ) -> None:
        write("stays", "")
        first = Launched(launcher.launch(ProcessToLaunch("app.py")))
        await first.imported("stays")
        first.close()
        before = open_descriptors()  # with those that a program opens once
        launched = Launched(launcher.launch(ProcessToLaunch("app.py")))
        await launched.imported("stays")
        launched.close()
        launched.process.close()
        assert launched.process.status() is not None
        assert not open_descriptors() - before
