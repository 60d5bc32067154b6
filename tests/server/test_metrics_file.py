"""The file of metrics: what a real server writes into it, when, and what removes it."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from halves import queued_of
from server.openmetrics import Numbers, number, numbers
from server.snapshots import pool_of
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Settings
from mpkernel.kernel.messages import Done, Restarted
from mpkernel.server.operations.metrics_file import MetricsFile
from shm.names import own_tag

APP = Path(__file__).parent / "apps" / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")

Holds = Callable[[Numbers], bool]


async def shown(path: Path, holds: Holds) -> Numbers:
    """The content of the file, as soon as this condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and holds(found := numbers(path.read_text()))):
            await asyncio.sleep(0.02)
    return found


def has_more_messages(than: float, found: Numbers) -> bool:
    return (number(found, "host_messages_total") or 0) > than


def has_deaths(count: float, found: Numbers) -> bool:
    died = number(found, "host_deaths_total", reason="killed") == count
    return died and number(found, "hosts", state="ready") == 0


class TestAServer:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "notebooks.prom"

    @pytest.fixture
    def settings(self, path: Path) -> Settings:
        return Settings(
            metrics_file=str(path),
            metrics_interval_s=0.05,
            watch_interval_s=0.05,
            ping_interval_s=0.05,
        )

    async def test_is_shown_with_its_processes_and_sessions(
        self, path: Path, pool: HostPool
    ) -> None:
        await pool.open_session(APP, kernel=ECHO)
        found = await shown(
            path,
            lambda found: (
                number(found, "host_cpus") is not None
                and number(found, "hosts", state="ready") == 1
            ),
        )
        app = str(APP)
        assert number(found, "hosts", app=app, state="ready") == 1
        assert number(found, "hosts", app=app, state="draining") == 0
        assert number(found, "sessions", app=app) == 1
        assert number(found, "sessions_opened_total", app=app) == 1
        assert number(found, "host_starts_total", app=app) == 1
        rss_bytes = number(found, "host_resident_memory_bytes", app=app, process="1")
        assert rss_bytes is not None
        assert rss_bytes > 1_000_000
        assert number(found, "host_threads", app=app, process="1") is not None
        assert number(found, "host_descriptors", app=app, process="1") is not None
        own_bytes = number(found, "server_resident_memory_bytes", server="notebooks")
        assert own_bytes is not None
        assert own_bytes > 1_000_000
        assert number(found, "server", pid=str(os.getpid())) == 1
        written_at = number(found, "server_written_timestamp_seconds")
        assert written_at is not None
        assert 0 <= time.time() - written_at < PATIENCE_S

    async def test_counts_how_long_things_took(self, path: Path, pool: HostPool) -> None:
        await pool.open_session(APP, kernel=ECHO)
        found = await shown(
            path, lambda found: (number(found, "host_ping_seconds_count") or 0) >= 2
        )
        for name in ("host_start", "session_start"):
            assert number(found, f"{name}_seconds_count") == 1
            took_s = number(found, f"{name}_seconds_sum")
            assert took_s is not None
            assert 0 < took_s < PATIENCE_S

    async def test_counts_what_is_said_both_ways(self, path: Path, pool: HostPool) -> None:
        session = await pool.open_session(APP, kernel=ECHO)
        for _ in range(3):
            session.send(Channel.CONTROL, bytes(1000))
            await anext(session)
        await shown(
            path,
            lambda found: (
                number(found, "kernel_input_bytes_total") == 3000
                and number(found, "kernel_output_bytes_total") == 3000
                and (number(found, "host_messages_total") or 0) > 3
            ),
        )

    async def test_counts_what_was_said_before_a_restart_too(
        self, path: Path, pool: HostPool, tmp_path: Path
    ) -> None:
        app = tmp_path / "app.py"
        app.write_text("")
        async with await PythonClient.open(pool, app) as client:
            client.execute("#" * 10_000, cell="long")
            async for message in client:
                if isinstance(message, Done):
                    break
            pool.hosts[0].kill()
            async for message in client:
                if isinstance(message, Restarted):
                    break
            found = await shown(path, lambda found: number(found, "host_starts_total") == 2)
        said = number(found, "kernel_input_bytes_total")
        assert said is not None
        assert said > 10_000

    async def test_counts_deaths_by_reason_and_loses_no_count_by_them(
        self, path: Path, pool: HostPool
    ) -> None:
        before = 0.0
        for deaths in (1.0, 2.0):
            session = await pool.open_session(APP, kernel=ECHO)
            session.send(Channel.CONTROL, b"the third message, after those that open the session")
            await anext(session)
            found = await shown(path, functools.partial(has_more_messages, before))
            before = number(found, "host_messages_total") or 0
            host = pool.hosts[0]
            host.kill()
            await queued_of(session)._ended.wait()
            await host.wait_over()
            found = await shown(
                path,
                functools.partial(has_deaths, deaths),
            )
            assert number(found, "host_starts_total") == deaths
            assert (number(found, "host_messages_total") or 0) >= before
            assert (number(found, "host_messages_sent_total") or 0) >= 3
            assert number(found, "sessions") == 0
            assert number(found, "host_threads") is None

    async def test_counts_its_virtual_files(self, path: Path, pool: HostPool) -> None:
        app = APP.with_name("files.py")
        session = await pool.open_session(app, kernel=KernelSpec(entry="files:obey"))
        session.send(Channel.CONTROL, b"kernel.files.store('key', bytes(5000))")
        await anext(session)
        found = await shown(path, lambda found: number(found, "files") == 1)
        assert number(found, "files_bytes") == 5000
        assert number(found, "host_files_bytes", process="1") == 5000

    async def test_says_so_to_other_users_too(self, tmp_path: Path) -> None:
        path = tmp_path / "notebooks.prom"
        before = os.umask(0o077)
        try:
            async with HostPool(Settings(metrics_file=str(path))):
                await shown(path, bool)
                assert stat.S_IMODE(path.stat().st_mode) == 0o644
                assert os.listdir(tmp_path) == [path.name]
        finally:
            os.umask(before)

    @pytest.mark.parametrize("snapshot", [False, True])
    async def test_is_gone_from_the_file_when_it_has_left(
        self, path: Path, snapshot: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        for leave in (lambda pool: None, HostPool.close_soon, HostPool.kill):
            async with HostPool(Settings(metrics_file=str(path), snapshot=snapshot)) as pool:
                await shown(path, bool)
                leave(pool)
                assert path.exists() is (leave(pool) is None and not pool.closed)
            assert not path.exists()

    async def test_without_the_setting_writes_none(self, tmp_path: Path) -> None:
        async with HostPool() as pool:
            await pool.open_session(APP, kernel=ECHO)
        assert os.listdir(tmp_path) == []

    async def test_serves_where_no_file_can_be_had(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "missing" / "notebooks.prom"
        async with HostPool(Settings(metrics_file=str(path), metrics_interval_s=0.02)) as pool:
            session = await pool.open_session(APP, kernel=ECHO)
            for _ in range(20):
                session.send(Channel.CONTROL, b"served")
                assert (await anext(session)).payload == b"served"
                await asyncio.sleep(0.01)
            path.parent.mkdir()
            await shown(path, bool)
        said = [record.message for record in caplog.records if "metrics" in record.message]
        assert len(said) == 2
        assert str(path) in said[0]
        assert "its folder must be there" in said[0]
        assert said[1].startswith("metrics are written again")


class TestTheFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "notebooks.prom"

    @pytest.fixture
    def warned(self, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
        return lambda: [one.message for one in caplog.records if one.levelname == "WARNING"]

    def test_is_written_when_it_is_time(self, path: Path) -> None:
        clock = Clock()
        file = MetricsFile(path, 10.0, clock=clock)
        file.write(pool_of())
        for _ in range(2):
            before = path.stat()
            clock.now_s += 9.5
            file.write(pool_of())
            assert path.stat() == before
            clock.now_s += 0.5
            file.write(pool_of())
            assert path.stat() != before

    def test_stays_as_it_was_on_a_full_disk(
        self, path: Path, warned: Callable[[], list[str]]
    ) -> None:
        file = MetricsFile(path, 0.001)
        file.write(pool_of())
        before = path.read_text()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            for _ in range(3):
                file.write(pool_of())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_text() == before
        assert os.listdir(path.parent) == [path.name]
        file.write(pool_of())
        assert path.read_text() != before
        trouble, end = warned()
        assert "File too large" in trouble
        assert "written again" in end

    def test_that_is_a_folder_is_warned_of(
        self, path: Path, warned: Callable[[], list[str]]
    ) -> None:
        path.mkdir()
        file = MetricsFile(path, 0.001)
        for _ in range(3):
            file.write(pool_of())
        file.remove()
        assert os.listdir(path.parent) == [path.name]
        [said] = warned()
        assert "Is a directory" in said

    def test_is_the_servers_that_began_last(
        self, path: Path, warned: Callable[[], list[str]]
    ) -> None:
        clock = Clock()
        old, new = MetricsFile(path, 1000.0, clock=clock), MetricsFile(path, 1000.0)
        old.write(pool_of())
        new.write(pool_of())
        written = path.stat()
        for _ in range(3):
            clock.now_s += 1000
            old.write(pool_of())
            assert path.stat() == written
        old.remove()
        assert path.stat() == written
        new.remove()
        assert not path.exists()
        [said] = warned()
        assert "another server writes it" in said

    def test_goes_back_to_one_that_waited(
        self, path: Path, warned: Callable[[], list[str]]
    ) -> None:
        clock = Clock()
        waiting, other = MetricsFile(path, 1000.0, clock=clock), MetricsFile(path, 1000.0)
        waiting.write(pool_of())
        other.write(pool_of())
        clock.now_s += 1000
        waiting.write(pool_of())
        other.remove()
        assert not path.exists()
        clock.now_s += 1000
        waiting.write(pool_of())
        assert path.exists()
        trouble, end = warned()
        assert "another server writes it" in trouble
        assert "written again" in end

    def test_that_a_killed_server_left_is_taken_over(self, path: Path) -> None:
        file = MetricsFile(path, 0.001)
        file.write(pool_of())
        path.unlink()
        path.write_text("left")
        os.utime(path, (time.time() - 10, time.time() - 10))
        file.write(pool_of())
        assert path.read_text() != "left"

    def test_is_not_written_any_more_once_it_was_removed(self, path: Path) -> None:
        file = MetricsFile(path, 0.001)
        file.remove()
        file.write(pool_of())
        file.remove()
        assert not path.exists()

    def test_half_of_one_that_a_killed_server_left_is_removed(self, path: Path) -> None:
        earlier = own_tag()._replace(start=own_tag().start - 1)
        (path.parent / f".{earlier.prefix}1").write_text("half")
        MetricsFile(path, 1.0).write(pool_of())
        assert os.listdir(path.parent) == [path.name]

    def test_cannot_end_a_server_by_a_signal_of_the_limit(self) -> None:
        """The test of a full disk relies on this."""
        assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
