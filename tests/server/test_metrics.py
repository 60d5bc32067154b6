"""Metrics: what is in the file, that its readers can read it, and what removes it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import resource
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from halves import queued_of
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families as as_prometheus

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Settings
from mpkernel.kernel.messages import Done, Restarted
from mpkernel.server.operations.metrics import ServerFacts, metrics_of
from mpkernel.server.operations.metrics_file import MetricsFile
from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, PoolSnapshot
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import BOUNDS_S, AppTotals, Histogram, Tallies
from shm.names import own_tag

APP = Path(__file__).parent / "apps" / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")
FACTS = ServerFacts("mine", 7, "1.0", "3.11.2", 1.7e9, 2**20)
PATIENCE_S = 30.0
HOUR_S = 3600.0

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]
Holds = Callable[[Numbers], bool]


def numbers(text: str) -> Numbers:
    """Every sample by name and labels, as both formats' parsers agree on it."""
    found: list[Numbers] = []
    for parser in (as_openmetrics, as_prometheus):
        samples = [sample for family in parser(text) for sample in family.samples]
        by_name = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        assert len(by_name) == len(samples), "a sample is there twice"
        found.append(by_name)
    assert found[0] == found[1]
    return found[0]


def number(found: Numbers, name: str, **labels: str) -> float | None:
    """The one sample of this name that has these labels."""
    wanted = labels.items()
    values = [
        value for (one, has), value in found.items() if one == f"mpkernel_{name}" and wanted <= has
    ]
    assert len(values) <= 1, f"{name} {labels} is not one"
    return values[0] if values else None


async def shown(path: Path, holds: Holds) -> Numbers:
    """The content of the file, as soon as this condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and holds(found := numbers(path.read_text()))):
            await asyncio.sleep(0.02)
    return found


def app_snapshot(path: str, tallies: Tallies, *hosts: HostSnapshot) -> AppSnapshot:
    return AppSnapshot(
        path=path,
        name="app",
        is_failed=False,
        waiting=0,
        deaths=0,
        last_reason=None,
        last_death=None,
        hosts=list(hosts),
        totals=tallies.totals((), outstanding_bytes=0),
    )


def host_snapshot(pid: int, state: str = "ready") -> HostSnapshot:
    return HostSnapshot(
        pid=pid,
        state=state,
        refusal=None,
        started_at=0.0,
        rss_bytes=5,
        cpu=None,
        threads=3,
        descriptors=None,
        processes=1,
        messages=0,
        sent=0,
        messages_per_s=0.0,
        sent_per_s=0.0,
        backlog_bytes=0,
        files_bytes=0,
        sessions=[],
    )


def pool_of(*apps: AppSnapshot) -> PoolSnapshot:
    return PoolSnapshot(
        apps=list(apps),
        totals=AppTotals.sum(app.totals for app in apps),
        standby=[],
        files=0,
        files_bytes=0,
        is_leaving=False,
    )


class TestTheText:
    # Whatever a file system allows, and what it does not.
    @given(st.lists(st.text(st.characters(exclude_categories=())), max_size=3, unique=True))
    @example(["/\udcff.py", "/?.py"])
    def test_is_read_by_both_parsers_whatever_apps_are_called(self, paths: list[str]) -> None:
        readable = [path.encode("utf-8", "backslashreplace").decode() for path in paths]
        if len(set(readable)) < len(paths):
            return  # two that cannot be told apart
        apps = [app_snapshot(path, Tallies(), host_snapshot(1)) for path in paths]
        found = numbers(metrics_of(pool_of(*apps), FACTS))
        assert {
            dict(labels)["app"] for name, labels in found if name == "mpkernel_sessions"
        } == set(readable)

    @pytest.mark.parametrize(
        "path", ['/a"b.py', "/a\\b.py", "/a\nb.py", '/a\\"\n# EOF\nx 1\n', "/a\\n.py", "/a\r\x85b"]
    )
    def test_is_not_steered_by_a_path(self, path: str) -> None:
        found = numbers(metrics_of(pool_of(app_snapshot(path, Tallies())), FACTS))
        assert number(found, "sessions", app=path) == 0

    def test_says_what_each_number_is(self) -> None:
        app = app_snapshot("/app.py", Tallies(), host_snapshot(1))
        families = list(as_openmetrics(metrics_of(pool_of(app), FACTS)))
        assert all(family.documentation.endswith(".") for family in families)
        for family in families:
            for unit in ("seconds", "bytes"):
                assert (family.unit == unit) is family.name.endswith(f"_{unit}")
        kinds = {family.name: family.type for family in families}
        assert kinds["mpkernel_host_deaths"] == "counter"
        assert kinds["mpkernel_hosts"] == "gauge"
        assert kinds["mpkernel_host_ping_seconds"] == "histogram"

    def test_has_no_types_and_no_empty_lines_that_only_one_format_knows(self) -> None:
        lines = metrics_of(pool_of(app_snapshot("/app.py", Tallies())), FACTS).splitlines()
        assert all(lines)
        kinds = {line.split()[-1] for line in lines if line.startswith("# TYPE")}
        assert kinds == {"gauge", "counter", "histogram"}

    def test_counts_deaths_by_every_reason_from_the_beginning(self) -> None:
        tallies = Tallies()
        tallies.deaths[Reason.OUT_OF_MEMORY] += 2
        found = numbers(metrics_of(pool_of(app_snapshot("/app.py", tallies)), FACTS))
        deaths = {
            reason: number(found, "host_deaths_total", reason=reason.value) for reason in Reason
        }
        assert deaths == {**dict.fromkeys(Reason, 0), Reason.OUT_OF_MEMORY: 2}

    def test_counts_for_the_server_what_it_counts_for_all_apps_together(self) -> None:
        apps = []
        for path in ("/a.py", "/b.py"):
            tallies = Tallies()
            tallies.sessions = 3
            tallies.deaths[Reason.KILLED] += 1
            tallies.ping.observe(0.2)
            apps.append(app_snapshot(path, tallies))
        found = numbers(metrics_of(pool_of(*apps), FACTS))
        assert number(found, "server_sessions_opened_total") == 6
        assert number(found, "server_host_deaths_total", reason="killed") == 2
        assert number(found, "server_host_ping_seconds_count") == 2
        assert number(found, "server_host_ping_seconds_sum") == pytest.approx(0.4)
        mine = {name.removeprefix("mpkernel_server_") for name, labels in found}
        for name, labels in found:
            if "app" in dict(labels) and name.endswith("_total"):
                assert name.removeprefix("mpkernel_") in mine

    def test_leaves_out_what_is_not_known_and_who_is_gone(self) -> None:
        hosts = (host_snapshot(1), host_snapshot(2, "died"))
        found = numbers(metrics_of(pool_of(app_snapshot("/app.py", Tallies(), *hosts)), FACTS))
        assert number(found, "host_threads", pid="1") == 3
        assert number(found, "host_descriptors", pid="1") is None
        assert number(found, "host_threads", pid="2") is None
        assert number(found, "hosts", state="ready") == 1


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_duration_up_to_every_bound_over_it(durations: list[float]) -> None:
    tallies = Tallies()
    for duration_s in durations:
        tallies.ping.observe(duration_s)
    found = numbers(metrics_of(pool_of(app_snapshot("/app.py", tallies)), FACTS))
    for bound in BOUNDS_S:
        counted = number(found, "host_ping_seconds_bucket", le=str(bound))
        assert counted == sum(duration_s <= bound for duration_s in durations)
    assert number(found, "host_ping_seconds_bucket", le="+Inf") == len(durations)
    assert number(found, "host_ping_seconds_count") == len(durations)
    assert number(found, "host_ping_seconds_sum") == pytest.approx(sum(durations))


def test_a_new_histogram_is_empty() -> None:
    assert sum(Histogram().latencies().counts) == 0


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
        app, pid = str(APP), str(pool.hosts[0].pid)
        assert number(found, "hosts", app=app, state="ready") == 1
        assert number(found, "hosts", app=app, state="draining") == 0
        assert number(found, "sessions", app=app) == 1
        assert number(found, "sessions_opened_total", app=app) == 1
        assert number(found, "host_starts_total", app=app) == 1
        rss_bytes = number(found, "host_resident_memory_bytes", app=app, pid=pid)
        assert rss_bytes is not None
        assert rss_bytes > 1_000_000
        assert number(found, "host_threads", app=app, pid=pid) is not None
        assert number(found, "host_descriptors", app=app, pid=pid) is not None
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
        assert number(found, "host_files_bytes", pid=str(pool.hosts[0].pid)) == 5000

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


def each_time_an_hour_later(path: Path) -> MetricsFile:
    """One whose next turn has come with each call, while no other looks dead meanwhile."""
    return MetricsFile(path, HOUR_S, clock=itertools.count(0.0, HOUR_S).__next__)


class TestTheFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "notebooks.prom"

    @pytest.fixture
    def warned(self, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
        return lambda: [one.message for one in caplog.records if one.levelname == "WARNING"]

    def test_is_written_when_it_is_time(self, path: Path) -> None:
        file = MetricsFile(path, 1000.0)
        file.write(pool_of())
        first = path.stat()
        file.write(pool_of())
        assert path.stat() == first
        soon = MetricsFile(path, 0.001)
        for _ in range(2):
            soon.write(pool_of())
            assert path.stat() != first
            first = path.stat()

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
        old, new = each_time_an_hour_later(path), MetricsFile(path, HOUR_S)
        old.write(pool_of())
        new.write(pool_of())
        written = path.stat()
        for _ in range(3):
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
        waiting, other = each_time_an_hour_later(path), MetricsFile(path, HOUR_S)
        waiting.write(pool_of())
        other.write(pool_of())
        waiting.write(pool_of())
        other.remove()
        assert not path.exists()
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
