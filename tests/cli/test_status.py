"""`mpkernel status` and `mpkernel top`, of a real server."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest
from cli.terminals import Terminal
from cli.test_run import mpkernel
from server.operators import OperatedServer, ready_hosts, user_directories
from server.snapshots import app_snapshot, host_snapshot, pool_of
from waiting import until

from mpkernel.amounts import age, memory
from mpkernel.cli.server_table import View, next_step, report
from mpkernel.cli.tables import columns
from mpkernel.plain_text import plain
from mpkernel.server.operations.finding import PublishedServer
from mpkernel.server.operations.snapshot import HostSnapshot, ServerSnapshot
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import Tallies


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def server(user: Path) -> Iterator[OperatedServer]:
    with OperatedServer(user) as server:
        until(ready_hosts)
        yield server


def test_without_a_server_it_says_so(user: Path) -> None:
    shown = mpkernel("status")
    assert shown.returncode == 1
    assert "no server of this user runs" in shown.stderr
    assert json.loads(mpkernel("status", "--json").stdout)["servers"] == []


def test_a_server_is_shown_with_its_apps_processes_and_sessions(server: OperatedServer) -> None:
    shown = mpkernel("status", "--sessions")
    assert shown.returncode == 0
    first, head, app, session, then = shown.stdout.splitlines()
    assert first.startswith(f"server {server.pid} · ")
    assert " sessions 1 " in first
    shown_app = dict(zip(head.split(), app.replace(" MiB", "MiB").split(), strict=False))
    assert (shown_app["APP"], shown_app["STATE"]) == ("served.py", "ready")
    assert psutil.Process(int(shown_app["PID"])).ppid() == server.pid
    assert "session visitor: idle" in session
    assert then.startswith("→ mpkernel top ")


def server_with(*hosts: HostSnapshot, deaths: Sequence[Reason] = ()) -> PublishedServer:
    """A server that there is not, with these processes of one app, and these earlier deaths."""
    tallies = Tallies()
    tallies.deaths.update(deaths)
    snapshot = ServerSnapshot(
        pid=4711,
        created_at=0.0,
        program="python",
        version="1",
        python="3.11.2",
        started_at=0.0,
        taken_at=0.0,
        has_control=True,
        pool=pool_of(app_snapshot("/srv/app.py", tallies, *hosts)),
    )
    return PublishedServer(Path("snapshot"), snapshot, None)


def test_it_is_said_how_a_process_is_confined_and_what_started_it() -> None:
    told = {"confine": "strict", "launch_wrapper": "nice -n 10 \x1b[2J"}
    host = msgspec.structs.replace(host_snapshot(1), **told)
    _, _, first, *notes, second = report([server_with(host, host_snapshot(2))])
    assert (first.split()[1], second.split()[1]) == ("1001", "1002")
    assert [note.strip() for note in notes] == [
        "confined: strict",
        "launch_wrapper: nice -n 10 \\x1b[2J",
    ]


@pytest.mark.parametrize(
    ("deaths", "then"),
    [
        ([Reason.CRASH, Reason.OPERATOR], "mpkernel crashes --app app.py "),
        ([Reason.OPERATOR, Reason.ENVIRONMENT], "mpkernel top "),
    ],
    ids=["a crash", "none that is reported"],
)
def test_reports_are_pointed_to_where_there_are_some(deaths: list[Reason], then: str) -> None:
    assert next_step([server_with(host_snapshot(1), deaths=deaths)]).startswith(then)


def test_it_is_said_on_which_worker_a_process_runs_and_which_waits_for_one() -> None:
    server = server_with(
        host_snapshot(1, worker="tcp://10.0.0.7:4711\n"), host_snapshot(2, "starting", worker="")
    )
    _, _, waits, why, runs, where = report([server])
    assert (waits.split()[1], runs.split()[1]) == ("1002", "1001")
    assert why.strip() == "waits for a worker of the cluster"
    assert where.strip() == "on worker tcp://10.0.0.7:4711\\n, where its process id is 501"
    assert "1002" not in "".join(report([server], View(words="10.0.0.7")))


def test_programs_get_the_same_as_json(server: OperatedServer) -> None:
    told = json.loads(mpkernel("status", "--json").stdout)
    assert (told["command"], told["shape"]) == ("status", 1)
    [shown] = told["servers"]
    assert (shown["pid"], shown["has_control"], shown["is_stopped"]) == (server.pid, True, False)
    assert shown["age_s"] >= shown["snapshot_age_s"] >= 0
    [app] = shown["pool"]["apps"]
    assert app["path"] == str(server.app)
    assert app["hosts"][0]["sessions"][0]["session_id"] == "visitor"


def test_a_reader_that_has_seen_enough_is_no_error(server: OperatedServer) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mpkernel", "status", "--json"]
    end = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=240)
    os.close(writing)
    assert (end.returncode, end.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_stopped_server_is_said_to_be(server: OperatedServer) -> None:
    server.stop()
    assert f"STOPPED: it answers nothing (kill -CONT {server.pid}" in mpkernel("status").stdout
    server.go_on()


def test_a_killed_server_is_not_shown(server: OperatedServer) -> None:
    server.process.kill()
    server.process.wait()
    assert mpkernel("status").returncode == 1


def test_top_without_a_terminal_is_status(server: OperatedServer) -> None:
    shown = mpkernel("top")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"server {server.pid} · ")
    assert "\x1b" not in shown.stdout


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_shows_what_changes_until_it_is_ended(
    server: OperatedServer, user: Path, key: str
) -> None:
    command = [sys.executable, "-m", "mpkernel", "top", "--interval", "0.1"]
    with Terminal(command, user) as terminal:
        terminal.wait_for(f"server {server.pid} · ")
        server.stop()
        terminal.wait_for("STOPPED")
        server.go_on()
        terminal.type(key)
        assert terminal.end() == 0
        assert terminal.shown.startswith("\x1b[?1049h")
        assert terminal.shown.endswith("\x1b[?25h\x1b[?1049l")


def test_top_shows_once_what_a_terminal_without_a_cursor_can_show(
    server: OperatedServer, user: Path
) -> None:
    command = ["env", "TERM=dumb", sys.executable, "-m", "mpkernel", "top"]
    with Terminal(command, user, color=True) as terminal:
        assert terminal.end() == 0
        assert f"server {server.pid} · " in terminal.shown
        assert "\x1b" not in terminal.shown


def test_keys_sort_and_filter_the_apps_of_top(user: Path) -> None:
    command = [sys.executable, "-m", "mpkernel", "top", "--interval", "0.1"]

    def shows(*names: str) -> Callable[[str], bool]:
        return lambda screen: tuple(re.findall(r"^ *(\w+)\.py ", screen, re.MULTILINE)) == names

    with (
        OperatedServer(user, "few.py", "many.py", "many.py"),
        Terminal(command, user, size=(150, 24)) as terminal,
    ):
        terminal.wait_for("q ends")  # from now on it reads keys
        for key, names in (
            ("n", ("few", "many")),
            ("s", ("many", "few")),
            ("/FEW", ("few",)),
            ("\x7f" * 3 + "many.", ("many",)),
            ("\r", ("many",)),
            ("n", ("many",)),  # the filter is kept, and letters are keys again
            ("\x1b", ("few", "many")),
            ("/nothing", ()),
            ("\x1b", ("few", "many")),
        ):
            terminal.type(key)
            terminal.wait_for_screen(shows(*names))
        terminal.type("v")
        terminal.wait_for_screen(lambda screen: screen.count("session visitor") == 3)
        terminal.type("q")
        assert terminal.end() == 0


def test_top_gives_the_terminal_back_when_it_is_terminated(user: Path) -> None:
    with Terminal([sys.executable, "-m", "mpkernel", "top", "--interval", "0.1"], user) as terminal:
        terminal.wait_for("no server of this user runs")
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.shown.endswith("\x1b[?25h\x1b[?1049l")


def test_top_gives_the_terminal_back_while_it_is_stopped(user: Path) -> None:
    top = shlex.join([sys.executable, "-m", "mpkernel", "top", "--interval", "60"])
    with Terminal(["bash", "--norc", "--noprofile", "-i"], user, size=(80, 24)) as terminal:
        terminal.type(f"{top}\n")
        terminal.wait_for("no server of this user runs")
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        assert "\x1b[?25h\x1b[?1049l" in terminal.shown
        terminal.type("stty -a; echo $((6 * 7))\n")
        terminal.wait_for("\n42\n")
        assert " icanon " in terminal.shown
        assert " echo " in terminal.shown
        terminal.shown = ""
        terminal.type("fg\n")
        terminal.wait_for("\x1b[?1049h")
        terminal.wait_for("no server of this user runs")
        terminal.type("q")
        terminal.wait_for("\x1b[?25h\x1b[?1049l")
        terminal.type("exit 7\n")
        assert terminal.end() == 7


def test_top_stays_when_there_is_no_server_yet(user: Path) -> None:
    with Terminal([sys.executable, "-m", "mpkernel", "top", "--interval", "0.1"], user) as terminal:
        terminal.wait_for("no server of this user runs")
        with OperatedServer(user) as server:
            terminal.wait_for(f"server {server.pid} · ")
        terminal.type("q")
        assert terminal.end() == 0


def test_an_interval_of_nothing_is_a_usage_error() -> None:
    assert mpkernel("top", "--interval", "0").returncode == 2


def test_a_name_cannot_steer_the_terminal(user: Path) -> None:
    app = user / "\x1b[2Jevil\n.py"
    assert plain(app.name) == "\\x1b[2Jevil\\n.py"
    assert plain("naïve ✓ 日本") == "naïve ✓ 日本"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1 KiB"),
        (120 * 2**20, "120 MiB"),
        (3 * 2**30 // 2, "1.5 GiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes_are_short(size: int | None, shown: str) -> None:
    assert memory(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1.0, "0 s"), (59.9, "59 s"), (61.0, "1 min 1 s"), (7260.0, "2 h 1 min"), (1e5, "1 d 3 h")],
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    assert age(seconds) == shown


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert columns([("A", "N"), ("long", "7")], right=frozenset({1})) == ["A     N", "long  7"]


def test_the_runtime_directory_of_another_environment_is_looked_at_too(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service has no XDG_RUNTIME_DIR, the shell of its operator has."""
    run = os.environ["XDG_RUNTIME_DIR"]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", str(user))
    with OperatedServer(user) as server:
        monkeypatch.setenv("XDG_RUNTIME_DIR", run)
        assert f"server {server.pid} · " in mpkernel("status").stdout
