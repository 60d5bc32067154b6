"""`mpkernel restart`, `drain` and `stop`, of real servers, marimo's too."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli.test_run import EXAMPLE, mpkernel
from e2e.harness import restarts_of
from server.operators import OperatedServer, ready_hosts, user_directories
from waiting import PATIENCE_S, until

from benchmarks.marimo_server import Server, Tab, http_client


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        monkeypatch.setenv("TMPDIR", str(folder))
        yield folder


@pytest.fixture
def server(user: Path) -> Iterator[OperatedServer]:
    with OperatedServer(user) as server:
        until(ready_hosts)
        yield server


def test_restart_replaces_the_process_of_an_app(server: OperatedServer) -> None:
    [before] = ready_hosts()
    done = mpkernel("restart", "served.py")
    assert done.returncode == 0
    assert done.stdout == (f"server {server.pid}: served.py restarts: 1 process, 1 session\n")
    until(lambda: ready_hosts() and ready_hosts() != [before])


def test_an_app_may_be_named_by_its_path_from_here(server: OperatedServer) -> None:
    path = os.path.relpath(server.app)
    done = mpkernel("drain", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "served.py drains: 1 process, 1 session" in done.stdout


def test_an_app_that_no_server_has_is_said_to_be_none(server: OperatedServer) -> None:
    refused = mpkernel("restart", "other.py")
    assert refused.returncode == 1
    assert "no server has an app other.py (" in refused.stderr
    mistyped = mpkernel("restart", "sevred.py")
    assert "no server has an app sevred.py: did you mean served.py?" in mistyped.stderr


def test_of_several_servers_one_must_be_named(server: OperatedServer, user: Path) -> None:
    with OperatedServer(user) as other:
        until(lambda: len(ready_hosts()) == 2)
        for command in (["restart", "served.py"], ["stop"]):
            refused = mpkernel(*command)
            assert refused.returncode == 1
            assert str(server.pid) in refused.stderr
            assert str(other.pid) in refused.stderr
        assert mpkernel("restart", "served.py", "--server", str(other.pid)).returncode == 0
        assert mpkernel("stop", str(other.pid)).returncode == 0
        assert other.process.wait(PATIENCE_S) == 0
        assert server.process.poll() is None


def test_stop_returns_when_the_server_has_left(server: OperatedServer) -> None:
    done = mpkernel("stop")
    assert done.returncode == 0
    assert "it stops when the running commands have ended" in done.stdout
    assert done.stdout.endswith(f"server {server.pid} has stopped\n")
    assert mpkernel("status").returncode == 1
    assert server.process.wait(PATIENCE_S) == 0


def test_a_stopped_server_is_said_to_be(server: OperatedServer) -> None:
    server.stop()
    for command in (["restart", "served.py"], ["stop"]):
        began = time.monotonic()
        refused = mpkernel(*command)
        assert refused.returncode == 1
        assert f"server {server.pid} is stopped, and answers nothing" in refused.stderr
        assert time.monotonic() - began < 10
    server.go_on()


def test_without_a_server_there_is_nobody_to_tell(user: Path) -> None:
    for command in (["restart", "app.py"], ["drain", "app.py"], ["stop"], ["stop", "1"]):
        refused = mpkernel(*command)
        assert refused.returncode == 1
        assert "no server" in refused.stderr


def test_a_command_without_an_app_is_a_usage_error() -> None:
    assert mpkernel("restart").returncode == 2


class TestMarimosServer:
    async def test_is_seen_and_its_tabs_outlive_a_restart(self, user: Path) -> None:
        async with (
            Server(EXAMPLE) as server,
            http_client() as client,
            Tab(server.url, str(EXAMPLE), client=client) as tab,
        ):
            await tab.wait_until_run()
            await asyncio.to_thread(until, ready_hosts)
            [before] = ready_hosts()
            done = await asyncio.to_thread(mpkernel, "restart", "dashboard.py")
            assert done.returncode == 0
            await tab.wait_for(restarts_of)
            assert len(restarts_of(tab)) == 1
            await tab.wait_until_run()
            assert tab.close_code is None
            await asyncio.to_thread(until, lambda: ready_hosts() and ready_hosts() != [before])

    def test_leaves_as_it_does_on_sigterm(self, user: Path) -> None:
        with Server(EXAMPLE) as server:
            done = mpkernel("stop")
            assert (done.returncode, done.stderr) == (0, "")
            until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE)

    def test_takes_no_orders_where_it_was_told_so(self, user: Path) -> None:
        with Server(EXAMPLE, options=["--no-control"]) as server:
            assert "takes no orders" in mpkernel("status").stdout
            refused = mpkernel("stop")
            assert refused.returncode == 1
            assert "takes no orders" in refused.stderr
            assert f"kill -TERM {server.pid} stops it" in refused.stderr
