"""`mpkernel crashes`: the list of reports, and a single report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cli.test_run import mpkernel
from server.operators import OperatedServer, ready_hosts, user_directories
from waiting import until

from mpkernel.server.operations.crashes import (
    CrashReport,
    CrashReports,
    Memory,
    SessionAtDeath,
    kept_reports,
)


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


def report(number: int, app: str = "/apps/sales.py") -> CrashReport:
    return CrashReport(
        at=1_700_000_000.0 + number,
        server_pid=77,
        version="0.1.0",
        app=app,
        pid=number,
        reason="crash",
        what=f"the process of {os.path.basename(app)} was killed by SIGSEGV",
        faults="Fatal Python error: Segmentation fault\n  File 'sales.py', line 3 in draw",
        last_lines=["about to draw", "\x1b[31mred\x1b[0m"],
        memory=[Memory(float(60 - at), at * 2**20, 1, 4) for at in range(60)],
        sessions=[
            SessionAtDeath(
                session_id="visitor",
                was_running=True,
                running="all cells",
                idle_s=1.5,
                thread=0x7F00,
                comes_back=True,
            )
        ],
        worker="tcp://10.0.0.7:4711",
        pid_on_worker=501,
    )


@pytest.fixture
def kept() -> None:
    reports = CrashReports(10)
    for number, app in ((1, "/apps/sales.py"), (2, "/apps/stocks.py"), (3, "/apps/sales.py")):
        reports.keep(report(number, app))


def test_without_reports_it_says_where_they_would_be(user: Path) -> None:
    shown = mpkernel("crashes")
    assert shown.returncode == 0
    assert f"no reports of deaths in {user / 'state' / 'mpkernel' / 'crashes'}" in shown.stderr


@pytest.mark.usefixtures("kept")
def test_the_latest_is_the_first() -> None:
    shown = mpkernel("crashes")
    head, *lines, then = shown.stdout.splitlines()
    assert head.split() == ["REPORT", "WHEN", "APP", "PID", "REASON", "SESSIONS", "WHAT"]
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert [line.split()[3] for line in lines] == ["sales.py", "stocks.py", "sales.py"]
    assert "crash" in lines[0]
    assert "was killed by SIGSEGV" in lines[0]
    assert then == "→ mpkernel crashes 1 shows all that is known of the latest"


@pytest.mark.usefixtures("kept")
def test_one_is_shown_with_all_that_is_known() -> None:
    shown = mpkernel("crashes", "2").stdout
    assert "crash: the process of stocks.py was killed by SIGSEGV" in shown
    assert "process 2 of server 77" in shown
    assert "ran on worker tcp://10.0.0.7:4711, where its process id is 501" in shown
    assert (
        "visitor: was running all cells, last sent 1.5 s before, comes back, thread 0x7f00" in shown
    )
    assert "Segmentation fault" in shown
    assert "about to draw" in shown
    assert "   1.0 s before: 59 MiB, processes 1, threads 4" in shown
    assert shown.count(" s before: ") <= 13


@pytest.mark.usefixtures("kept")
def test_what_an_app_wrote_cannot_steer_the_terminal() -> None:
    shown = mpkernel("crashes", "1").stdout
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown


def test_no_text_or_number_of_a_report_can_steer_the_terminal_or_end_the_list() -> None:
    evil = "\x1b[2J\nforged"
    session = msgspec.structs.replace(report(1).sessions[0], session_id=evil, running=evil)
    texts = dict.fromkeys(("app", "reason", "what", "version", "faults"), evil)
    one = msgspec.structs.replace(
        report(1), **texts, last_lines=[evil], sessions=[session], python=evil
    )
    CrashReports(10).keep(one)
    [name] = kept_reports()
    name.write_bytes(msgspec.json.encode(one).replace(b"1700000001.0", b"1e300"))
    name.with_name(f"20240101{evil[:4]}.json").write_text("[" * 100_000)
    for arguments in ([], ["1"]):
        shown = mpkernel("crashes", *arguments)
        assert shown.returncode == 0
        assert "\x1b" not in shown.stdout + shown.stderr
        assert "\nforged" not in shown.stdout.replace("\\nforged", "")
        assert "not a report that can be read" in shown.stderr


@pytest.mark.usefixtures("kept")
def test_those_of_one_app_are_found() -> None:
    shown = mpkernel("crashes", "--app", "stocks.py")
    assert len(shown.stdout.splitlines()) == 3
    assert "process 2 of" in mpkernel("crashes", "--app", "stocks.py", "1").stdout


@pytest.mark.usefixtures("kept")
def test_an_app_is_named_by_its_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    for path in ("/apps/stocks.py", "apps/stocks.py", "./apps/../apps/stocks.py"):
        assert "process 2 of" in mpkernel("crashes", "--app", path, "1").stdout
    assert (
        "no reports of deaths of other/stocks.py"
        in mpkernel("crashes", "--app", "other/stocks.py").stderr
    )


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("number", [[], ["1"]], ids=["the list", "one"])
def test_an_app_without_reports_gets_a_suggestion(number: list[str]) -> None:
    shown = mpkernel("crashes", "--app", "sale.py", *number)
    assert "no reports of deaths of sale.py" in shown.stderr
    assert "did you mean sales.py?" in shown.stderr


def test_what_is_to_be_typed_next_can_be_typed() -> None:
    CrashReports(10).keep(report(1, "/apps/my sales.py"))
    for words in (["--app", "my sales.py"], ["1"]):
        *_, then = mpkernel("crashes", *words).stdout.splitlines()
        assert "mpkernel crashes --app 'my sales.py' " in then


@pytest.mark.usefixtures("kept")
def test_programs_get_them_as_json() -> None:
    kept = json.loads(mpkernel("crashes", "--json").stdout)["reports"]
    assert [one["pid"] for one in kept] == [3, 2, 1]
    [report] = json.loads(mpkernel("crashes", "3", "--json").stdout)["reports"]
    assert report["faults"].startswith("Fatal")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("number", ["0", "4", "-", "x", "²"])
def test_a_report_that_there_is_not_is_an_error(number: str) -> None:
    shown = mpkernel("crashes", number)
    assert shown.returncode == 1
    assert f"there is no report {number}" in shown.stderr


@pytest.mark.usefixtures("kept")
def test_a_file_that_is_no_report_is_named_and_passed_over() -> None:
    kept_reports()[0].write_text("{}")
    shown = mpkernel("crashes")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 4
    assert "not a report that can be read" in shown.stderr


def test_a_death_of_a_running_server_is_there(user: Path) -> None:
    with OperatedServer(user) as server:
        until(ready_hosts)
        [running] = json.loads(mpkernel("status", "--json").stdout)["servers"]
        os.kill(running["pool"]["apps"][0]["hosts"][0]["pid"], signal.SIGKILL)
        until(kept_reports)
        shown = mpkernel("crashes", "1").stdout
        assert "killed: the process of served.py was killed by SIGKILL" in shown
        assert f"of server {server.pid}" in shown
        assert "visitor: was idle" in shown
        assert "\n  written" in shown
