"""The report that each death leaves, and how many there are."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from server.operators import user_directories

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Settings
from mpkernel.errors import HostDied
from mpkernel.kernel.messages import Restarted
from mpkernel.server.operations.crashes import (
    CrashReport,
    CrashReports,
    Memory,
    kept_reports,
    read_report,
    report_of,
)
from mpkernel.server.supervision.deaths import Death, Reason
from mpkernel.server.supervision.usage import Usage

APP = Path(__file__).parent / "apps" / "kernels.py"


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def settings() -> Settings:
    return Settings(crash_reports=5, watch_interval_s=0.05)


async def die(pool: HostPool, how: str) -> CrashReport:
    """Have the process of a test kernel die. Returns the report of its death."""
    session = await pool.open_session(
        APP, kernel=KernelSpec(entry=f"kernels:{how}"), session_id="visitor"
    )
    with pytest.raises(HostDied):
        async for _ in session:
            continue
    return await one_report()


async def one_report() -> CrashReport:
    while not (paths := kept_reports()):
        await asyncio.sleep(0.02)
    return read_report(paths[-1])


async def test_a_crash_is_reported_with_its_traceback(pool: HostPool) -> None:
    report = await die(pool, "segfault")
    assert (report.app, report.reason) == (str(APP), "crash")
    assert report.what == "the process of kernels.py was killed by SIGSEGV"
    assert report.server_pid == os.getpid()
    assert "Segmentation fault" in report.faults
    assert "in segfault" in report.faults
    assert abs(time.time() - report.at) < 60


@pytest.mark.parametrize("forked", ["a_fork", "a_fork_by_c_code"])
async def test_the_crash_of_a_fork_is_no_evidence_of_its_hosts_end(
    pool: HostPool, forked: str
) -> None:
    report = await die(pool, f"exit_after_{forked}_crashed")
    assert (report.reason, report.faults) == ("exit", "")


@pytest.mark.parametrize("forked", ["a_fork", "a_fork_by_c_code"])
async def test_after_the_crash_of_a_fork_the_hosts_own_is_reported(
    pool: HostPool, forked: str
) -> None:
    report = await die(pool, f"segfault_after_{forked}_crashed")
    assert report.reason == "crash"
    assert report.faults.count("Fatal Python error") == 1
    assert "in segfault_after" in report.faults
    assert "in _crash_in_a_child" not in report.faults


async def test_the_report_names_who_was_on_the_process(pool: HostPool) -> None:
    report = await die(pool, "segfault")
    [session] = report.sessions
    assert session.session_id == "visitor"
    assert not session.comes_back
    assert session.thread is not None
    # As faulthandler writes the thread that crashed.
    assert f"Current thread {session.thread:#018x}" in report.faults


async def test_the_report_says_what_each_session_was_running(pool: HostPool, user: Path) -> None:
    app = user / "app.py"
    app.write_text("")
    async with await PythonClient.open(pool, app) as client:
        client.execute("import os; os._exit(3)", cell="fatal")
        async for message in client:
            if isinstance(message, Restarted):
                break
        [session] = (await one_report()).sessions
        assert session.was_running
        assert session.running == "code: import os; os._exit(3)"
        assert session.comes_back


async def test_the_report_has_the_last_lines_of_the_console(pool: HostPool) -> None:
    report = await die(pool, "exit_the_process")
    assert report.reason == "exit"
    assert report.last_lines[-1] == "about to leave"


async def test_the_report_shows_how_memory_was(pool: HostPool) -> None:
    session = await pool.open_session(APP, kernel=KernelSpec(entry="kernels:echo"))
    [host] = pool.hosts
    while len(host.usages) < 3:
        await asyncio.sleep(0.02)
    psutil.Process(host.pid).kill()
    with pytest.raises(HostDied):
        await anext(session)
    report = await one_report()
    seen_alive = report.memory[:3]  # a later look may have seen how it ended
    assert len(seen_alive) == 3
    assert all(look.rss_bytes > 1_000_000 and look.processes == 1 for look in seen_alive)
    before = [look.before_s for look in report.memory]
    assert before == sorted(before, reverse=True)


async def test_reports_are_their_users_alone(pool: HostPool) -> None:
    await die(pool, "exit_the_process")
    [path] = kept_reports()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_death_at_the_very_end_is_reported_too(settings: Settings) -> None:
    async with HostPool(settings) as pool:
        await die_unread(pool)
    assert len(kept_reports()) == 1


async def die_unread(pool: HostPool) -> None:
    session = await pool.open_session(APP, kernel=KernelSpec(entry="kernels:exit_the_process"))
    with pytest.raises(HostDied):
        async for _ in session:
            continue


async def test_processes_that_were_told_to_leave_are_not_reported(settings: Settings) -> None:
    async with HostPool(settings) as pool:
        await pool.open_session(APP, kernel=KernelSpec(entry="kernels:echo"))
    assert kept_reports() == []


@pytest.mark.parametrize("place", ["file", "proc", "link"])
async def test_where_none_can_be_written_all_is_served_and_one_warning_says_so(
    user: Path,
    settings: Settings,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if place == "file":  # nobody, not even root, makes a folder in one
        (user / "state").write_text("")
    elif place == "proc":
        monkeypatch.setenv("XDG_STATE_HOME", "/proc")
    else:
        (user / "state" / "mpkernel").mkdir(parents=True)
        (user / "state" / "mpkernel" / "crashes").symlink_to("/tmp")
    async with HostPool(settings) as pool:
        for _ in range(2):
            await die_unread(pool)
        session = await pool.open_session(APP, kernel=KernelSpec(entry="kernels:echo"))
        session.send(Channel.CONTROL, b"served")
        assert (await anext(session)).payload == b"served"
    warnings = [one.message for one in caplog.records if "no reports of deaths" in one.message]
    assert len(warnings) == 1


def report(number: int, app: str = "/app.py") -> CrashReport:
    death = Death(app=app, pid=number, reason=Reason.KILLED, what="it died")
    return report_of(death, (), ())


class TestTheFiles:
    def test_of_the_oldest_deaths_give_way(self, user: Path) -> None:
        reports = CrashReports(3)
        for number in range(1, 8):
            reports.keep(report(number))
        assert [read_report(path).pid for path in kept_reports()] == [5, 6, 7]

    def test_that_could_not_be_written_are_written_when_they_can(self, user: Path) -> None:
        reports = CrashReports(3)
        (user / "state").write_text("a file")
        for number in range(1, 8):
            reports.keep(report(number))
        (user / "state").unlink()
        reports.catch_up()
        assert [read_report(path).pid for path in kept_reports()] == [5, 6, 7]
        reports.catch_up()
        assert len(kept_reports()) == 3

    def test_that_are_somebody_elses_are_left_alone(self, user: Path) -> None:
        reports = CrashReports(1)
        reports.keep(report(1))
        other = kept_reports()[0].with_name("notes.txt")
        other.write_text("mine")
        reports.keep(report(2))
        assert [read_report(path).pid for path in kept_reports()] == [2]
        assert other.exists()

    @pytest.mark.parametrize("app", ["/a/../.py", "/\n\x1b[2J", "/é" + "x" * 300, "/-rf", "/"])
    def test_have_names_that_are_harmless_whatever_the_app_is_called(
        self, user: Path, app: str
    ) -> None:
        CrashReports(1).keep(report(1, app))
        [path] = kept_reports()
        assert read_report(path).app == app
        assert path.name.isascii()
        assert path.name.isprintable()
        assert len(path.name) < 120

    def test_are_bounded_however_much_the_process_wrote(self, user: Path) -> None:
        death = Death(
            app="/app.py",
            pid=1,
            reason=Reason.CRASH,
            what="it died",
            last_lines=("x" * 1_000_000,) * 40,
            faults="y" * 10_000_000,
        )
        CrashReports(1).keep(report_of(death, (), ()))
        [path] = kept_reports()
        assert path.stat().st_size < 200_000


def test_memory_is_told_by_how_long_before_it_was() -> None:
    usage = Usage(
        rss_bytes=5_000_000,
        cpu_s=1.0,
        host_cpu_s=1.0,
        threads=3,
        descriptors=None,
        processes=2,
        taken_at=time.monotonic() - 10,
    )
    death = Death(app="/app.py", pid=1, reason=Reason.KILLED, what="it died")
    assert report_of(death, (), (usage,)).memory == [Memory(10.0, 5_000_000, 2, 3)]
