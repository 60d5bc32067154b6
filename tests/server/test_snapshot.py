"""The snapshot that a server keeps for its operator, and what removes it."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from halves import host_of, queued_of
from server.operators import OperatedServer, user_directories
from server.simulated import Client, SlowJournal
from server.snapshots import pool_of
from waiting import PATIENCE_S, until

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import MPKernelError
from mpkernel.private_files import make_private, private_runtime_directory
from mpkernel.server.operations.finding import PublishedServer, published_servers
from mpkernel.server.operations.observing import Rates
from mpkernel.server.operations.orders import Restart, give_order
from mpkernel.server.operations.snapshot import HostSnapshot
from mpkernel.server.operations.snapshot_file import SnapshotFile
from mpkernel.server.supervision.tallies import AppTotals
from shm.names import next_name, own_tag

APP = Path(__file__).parent / "apps" / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")
EMPTY = pool_of()


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def settings() -> Settings:
    return Settings(snapshot=True, watch_interval_s=0.1)


async def seen_with(wanted: str, folder: Path) -> PublishedServer:
    """The server of this process, once its snapshot has this in it."""
    while True:
        for path in (folder / "run" / "mpkernel").glob("*.json"):
            if wanted in path.read_text():
                return next(one for one in published_servers() if one.path == path)
        await asyncio.sleep(0.02)


class TestAServer:
    @pytest.fixture
    async def served(self, user: Path, pool: HostPool) -> HostPool:
        return pool

    async def test_is_seen_with_its_processes_and_sessions(
        self, user: Path, served: HostPool
    ) -> None:
        session = await served.open_session(APP, kernel=ECHO, session_id="visitor")
        session.send(Channel.CONTROL, b"hello")
        await anext(session)
        server = await seen_with('"cpu":0.', user)
        assert server.snapshot.pid == os.getpid()
        assert server.snapshot.created_at == psutil.Process().create_time()
        assert not server.is_stopped
        [app] = server.snapshot.pool.apps
        assert (app.path, app.deaths, app.is_failed) == (str(APP), 0, False)
        [host] = app.hosts
        assert (host.pid, host.state) == (served.hosts[0].pid, "ready")
        assert host.rss_bytes is not None
        assert host.rss_bytes > 1_000_000
        assert host.messages >= 3
        assert host.sent >= 2
        assert [(one.session_id, one.is_running) for one in host.sessions] == [("visitor", False)]

    async def test_is_seen_again_after_looks_for_which_there_was_no_memory(
        self,
        user: Path,
        served: HostPool,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        looks = itertools.count()

        def no_memory(_: HostPool) -> AppTotals:
            if next(looks) < 2:
                raise MemoryError
            return AppTotals.sum(())

        monkeypatch.setattr(HostPool, "forgotten", property(no_memory))
        await served.open_session(APP, kernel=ECHO, session_id="visitor")
        await seen_with("visitor", user)
        assert caplog.text.count("operators see this server as it was before") == 1

    async def test_is_seen_by_its_user_alone(self, user: Path, served: HostPool) -> None:
        path = (await seen_with('"apps":[]', user)).path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    async def test_shows_how_its_last_process_died(self, user: Path, served: HostPool) -> None:
        session = await served.open_session(APP, kernel=ECHO)
        os.kill(served.hosts[0].pid, 9)
        await queued_of(session)._ended.wait()
        [app] = (await seen_with('"deaths":1', user)).snapshot.pool.apps
        assert app.last_reason == "killed"
        assert {host.state for host in app.hosts} <= {"died"}
        assert app.last_death == "the process of kernels.py was killed by SIGKILL"

    async def test_counts_its_virtual_files(self, user: Path, served: HostPool) -> None:
        app = APP.with_name("files.py")
        session = await served.open_session(app, kernel=KernelSpec(entry="files:obey"))
        session.send(Channel.CONTROL, b"kernel.files.store('key', bytes(5000))")
        await anext(session)
        pool = (await seen_with('"files":1', user)).snapshot.pool
        assert (pool.files_bytes, pool.apps[0].hosts[0].files_bytes) == (5000, 5000)


async def test_a_server_that_leaves_is_not_seen(user: Path, settings: Settings) -> None:
    async with HostPool(settings):
        await seen_with('"apps":[]', user)
    assert published_servers() == []
    assert list((user / "run" / "mpkernel").iterdir()) == []


async def test_a_server_that_leaves_without_waiting_is_not_seen(
    user: Path, settings: Settings
) -> None:
    pool = HostPool(settings)
    pool.start()
    await seen_with('"apps":[]', user)
    pool.close_soon()
    assert published_servers() == []
    await pool.close()


async def test_a_server_that_leaves_while_it_looks_at_its_sessions_says_nothing_of_it(
    user: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with HostPool(settings) as pool:
        session = await pool.open_session(APP, kernel=ECHO)
        journals = [SlowJournal() for _ in range(40)]
        for number, journal in enumerate(journals):
            host_of(session)._table.add(
                Client(queued_of(session).app, f"visitor {number}", journal)
            )
        while not any(journal.was_asked for journal in journals):
            await asyncio.sleep(0)
        assert not journals[-1].was_asked
        pool.close_soon()
    assert published_servers() == []
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


async def test_a_library_keeps_nothing_unless_it_is_asked(user: Path) -> None:
    async with HostPool() as pool:
        await pool.open_session(APP, kernel=ECHO)
    assert list((user / "run").iterdir()) == []
    assert not (user / "state").exists()


def test_a_killed_server_is_recognised_and_what_it_left_is_removed(user: Path) -> None:
    with OperatedServer(user) as server:
        assert [one.snapshot.pid for one in published_servers()] == [server.pid]
        kept = list((user / "run" / "mpkernel").iterdir())
        assert {path.suffix for path in kept} == {".json", ".key", ".sock"}
        server.process.kill()
        server.process.wait()
        assert published_servers() == []
        assert list((user / "run" / "mpkernel").iterdir()) == []


def test_another_process_of_the_same_number_is_not_taken_for_the_dead_one(user: Path) -> None:
    tag = own_tag()
    earlier = tag._replace(start=tag.start - 1)
    directory = private_runtime_directory()
    SnapshotFile(directory / f"{earlier.prefix}0.json", has_control=False).write(EMPTY)
    (directory / f".{earlier.prefix}1").write_text("half")
    (directory / f"{earlier.prefix}2.json").mkdir()  # nobody knows who did this
    assert published_servers() == []
    assert list(directory.iterdir()) == [directory / f"{earlier.prefix}2.json"]


def test_a_server_of_another_container_is_seen_until_nobody_listens_there(user: Path) -> None:
    elsewhere = own_tag()._replace(namespace=1)
    path = private_runtime_directory() / f"{elsewhere.prefix}0.json"
    SnapshotFile(path, has_control=True).write(EMPTY)
    path.with_suffix(".key").write_bytes(b"key")
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(path.with_suffix(".sock")))
        control.listen(1)
        for _ in range(5):  # also when all who may wait there wait already
            assert [one.process for one in published_servers()] == [None]
    assert published_servers() == []
    assert list(path.parent.iterdir()) == []


def test_a_stopped_server_is_seen_as_such(user: Path) -> None:
    with OperatedServer(user) as server:
        server.stop()
        [seen] = published_servers()
        assert seen.is_stopped
        server.go_on()
        until(lambda: not published_servers()[0].is_stopped)


class TestTheFile:
    @pytest.fixture
    def path(self, user: Path) -> Path:
        return private_runtime_directory() / f"{next_name()}.json"

    def test_is_written_when_something_has_changed(self, path: Path) -> None:
        file = SnapshotFile(path, has_control=False)
        file.write(EMPTY)
        first = path.stat().st_ino
        file.write(EMPTY)
        assert path.stat().st_ino == first
        file.write(msgspec.structs.replace(EMPTY, standby=[7]))
        assert published_servers()[0].snapshot.pool.standby == [7]

    def test_comes_back_when_somebody_has_cleaned_up(self, path: Path) -> None:
        file = SnapshotFile(path, has_control=False)
        file.write(EMPTY)
        path.unlink()
        file.write(EMPTY)
        assert path.exists()

    def test_that_cannot_be_written_is_warned_of_once(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = SnapshotFile(path, has_control=False)
        shutil.rmtree(path.parent)
        path.parent.write_text("a file in the folder's place")
        for _ in range(3):
            file.write(EMPTY)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "no snapshot can be kept" in caplog.text
        path.parent.unlink()
        file.write(EMPTY)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.exists()

    def test_is_not_written_any_more_once_it_was_removed(self, path: Path) -> None:
        file = SnapshotFile(path, has_control=False)
        file.remove()
        file.write(EMPTY)
        assert not path.exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[1]",
            b'{"pid": "x"}',
            b"\xff\x00",
            b'{"x":' + b"[" * 100_000,
            b'{"created_at":1e999}',
            b'{"pid":' + b"9" * 10_000,
        ],
    )
    def test_of_nonsense_is_passed_over(
        self, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.write_bytes(content)
        assert published_servers() == []
        assert "cannot be read" in caplog.text

    @pytest.mark.parametrize("instead", ["half", "link", "pipe", "folder", "giant"])
    def test_of_which_something_else_is_there_hides_no_other(
        self, path: Path, instead: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = path.with_name(f"{next_name()}.json")
        for one in (path, other):
            SnapshotFile(one, has_control=False).write(EMPTY)
        match instead:
            case "half":
                path.write_bytes(path.read_bytes()[:-100])
            case "link":
                path.rename(path.with_name("moved"))
                path.symlink_to("moved")
            case "pipe":
                path.unlink()
                os.mkfifo(path)
            case "folder":
                path.unlink()
                path.mkdir()
            case "giant":
                os.truncate(path, 2**40)
        assert [one.path for one in published_servers()] == [other]
        assert "cannot be read" in caplog.text


class TestTheDirectory:
    def test_is_in_the_users_runtime_directory(self, user: Path) -> None:
        assert private_runtime_directory() == user / "run" / "mpkernel"

    def test_is_a_private_one_for_temporary_files_where_there_is_no_other(
        self, user: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = user / f"mpkernel-{os.geteuid()}"
        for value in ("", "not/absolute", "/proc/no/such"):
            monkeypatch.setenv("XDG_RUNTIME_DIR", value)
            assert private_runtime_directory() == wanted
        assert stat.S_IMODE(wanted.stat().st_mode) == 0o700

    def test_that_is_a_link_is_refused(self, user: Path) -> None:
        (user / "elsewhere").mkdir(mode=0o700)
        (user / "link").symlink_to(user / "elsewhere")
        with pytest.raises(PermissionError, match="a link"):
            make_private(user / "link")

    def test_of_another_user_is_refused(self, user: Path) -> None:
        others = Path("/")
        if os.geteuid() == 0:
            others = user / "others"
            others.mkdir(mode=0o700)
            os.chown(others, 12345, 12345)
        with pytest.raises(PermissionError, match="another user"):
            make_private(others)

    def test_that_is_open_to_others_is_refused(self, user: Path) -> None:
        (user / "open").mkdir()
        (user / "open").chmod(0o755)
        with pytest.raises(PermissionError, match="open to others"):
            make_private(user / "open")

    async def test_that_cannot_be_had_costs_one_warning_and_no_session(
        self, user: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")
        (user / f"mpkernel-{os.geteuid()}").write_text("in the way")
        async with HostPool(Settings(snapshot=True, control=True)) as pool:
            session = await pool.open_session(APP, kernel=ECHO)
            session.send(Channel.CONTROL, b"served")
            assert (await anext(session)).payload == b"served"
        warnings = [one.message for one in caplog.records if one.levelname == "WARNING"]
        assert len(warnings) == 1
        assert warnings[0].startswith("operators cannot see this server")


def test_a_rate_is_what_was_counted_since_a_moment_ago() -> None:
    rates = Rates(window_s=2.0)
    assert rates.per_s(1, (100, 7), now=10.0) == (0.0, 0.0)
    assert rates.per_s(1, (150, 7), now=11.0) == (0.0, 0.0)
    assert rates.per_s(1, (200, 7), now=12.0) == (50.0, 0.0)
    assert rates.per_s(1, (900, 7), now=13.0) == (50.0, 0.0)
    assert rates.per_s(1, (200, 7), now=14.0) == (0.0, 0.0)
    rates.keep(set())
    assert rates.per_s(1, (500, 7), now=20.0) == (0.0, 0.0)


def test_every_field_of_a_process_is_told() -> None:
    """So that scripts that read `status --json` find what the page of operating promises."""
    promised = {"pid", "state", "rss_bytes", "cpu", "threads", "sessions"}
    assert promised | {"messages_per_s", "sent_per_s"} <= set(HostSnapshot.__struct_fields__)


async def test_a_server_whose_files_were_removed_is_found_and_heard_again(user: Path) -> None:
    settings = Settings(snapshot=True, control=True)
    async with HostPool(settings) as pool, await pool.open_session(APP, kernel=ECHO):
        await asyncio.to_thread(until, published_servers)
        shutil.rmtree(user / "run" / "mpkernel")
        await asyncio.to_thread(until, published_servers)

        def answered() -> bool:
            return give_order(Restart(str(APP)), published_servers()[0].path).done

        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    assert await asyncio.to_thread(answered)
                    break
                except MPKernelError:  # the socket follows the snapshot
                    await asyncio.sleep(0.05)
