"""EMFILE in a server: no more descriptors can be opened."""

from __future__ import annotations

import hashlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.limits import cpu_share, starved
from faults.served import STORE, Served
from waiting import until

from mpkernel.server.operations.crashes import kept_reports
from mpkernel.server.operations.orders import Drain, give_order

SPARE = (0, 5, 12, 15)
"""About how many a start may take; 18 at a time are what it needs."""

UNSEEN = (
    "no snapshot can be kept for operators for now",
    "metrics cannot be written for now",
    "hosts cannot be watched for now",
)
"""What is missing meanwhile, each told once."""


def test_a_start_without_descriptors_is_refused_and_leaves_nothing(folder: Path) -> None:
    with Served(folder, idle_retire_s=0.0) as server, server.steadily():
        before = server.descriptors(), server.children()
        for spare in SPARE:
            with starved(server.pid, spare):
                refusal = server.refused("open", name="one", app="one.py")
                assert refusal.kind == "HostStartError"
                assert "one.py: [Errno 24] Too many open files" in refusal.what
                assert "ulimit -n" in refusal.remedy
                server.ask("exchanged")
            assert server.descriptors() <= before[0]  # one may have been open for a moment
            assert server.children() == before[1]
        server.ask("open", name="one", app="one.py")
        assert server.says("one", "print(6 * 7)") == "42\n"
        server.ask("end", name="one")
        until(lambda: server.descriptors() <= before[0] and server.children() == before[1])


def test_a_warm_process_that_cannot_be_connected_is_ended(folder: Path) -> None:
    with Served(folder, standby=1, standby_imports=()) as server:
        until(lambda: server.ask("standby"))
        (warm,) = server.ask("standby")
        with starved(server.pid):
            refusal = server.refused("open", name="one")
            assert refusal.kind == "HostStartError"
            assert "one.py was started, but not connected" in refusal.what
            assert "descriptors" in refusal.remedy
        assert warm not in server.children()
        until(lambda: server.ask("standby"))
        server.ask("open", name="one")
        assert server.says("one", "print(6 * 7)") == "42\n"


def test_a_standby_stays_when_it_cannot_be_seen_whether_it_fits(folder: Path) -> None:
    with Served(folder, standby=1) as server:
        until(lambda: server.ask("standby"))
        (warm,) = server.ask("standby")
        with starved(server.pid):
            refusal = server.refused("open", name="one")
            assert refusal.kind == "HostStartError"
            assert "one.py: [Errno 24] Too many open files" in refusal.what
        server.ask("open", name="one")
        assert server.ask("hosts", app="one.py") == [warm]


def test_sessions_wait_for_a_process_that_cannot_be_had_and_come_back(folder: Path) -> None:
    settings = {"restart_limit": 1, "restart_backoff_s": 0.2, "restart_backoff_max_s": 0.4}
    with Served(folder, **settings) as server, server.steadily():
        server.ask("open", name="one")
        server.says("one", "pass")
        (host,) = server.ask("hosts", app="one.py")
        with starved(server.pid):
            server.ask("open", name="late")  # on the process that there is
            assert server.says("late", "print('here')") == "here\n"
            os.kill(host, signal.SIGKILL)
            came_back = server.later("restarted", name="one")
            until(lambda: server.log.count("no process could be launched") > 3)
            server.ask("exchanged")
            assert cpu_share(server.pid) < 0.3
            assert not came_back.done()
        assert "was killed by SIGKILL" in came_back.result(30)
        assert server.says("one", "print('again')") == "again\n"
        assert "no reports of deaths can be kept for now: [Errno 24]" in server.log
        crashes = folder / "state" / "mpkernel" / "crashes"
        until(lambda: any(f"-{host}." in path.name for path in kept_reports(crashes)))
        (host,) = server.ask("hosts", app="one.py")
        os.kill(host, signal.SIGKILL)
        # The second death is one too many; the starts that were refused were none.
        assert server.refused("restarted", name="one").kind == "AppUnavailable"
        until(lambda: any(f"-{host}." in path.name for path in kept_reports(crashes)))


def test_operators_wait_and_their_files_come_when_they_can(folder: Path) -> None:
    metrics = folder / "metrics.prom"
    settings = {"metrics_file": str(metrics), "metrics_interval_s": 0.2}
    with Served(folder, **settings) as server, server.steadily(), ThreadPoolExecutor(1) as thread:
        (snapshot,) = until(lambda: list(folder.glob("run/mpkernel/mpk-*.json")))
        server.ask("open", name="one")
        server.says("one", "pass")
        with starved(server.pid):
            drain = Drain(str(server.apps / "one.py"))
            # The system has given a descriptor to who waits for a connection before there is one.
            assert give_order(drain, snapshot).done
            order = thread.submit(give_order, drain, snapshot)
            until(lambda: all(server.log.count(line) for line in UNSEEN))
            assert cpu_share(server.pid) < 0.3
            assert not order.done()
            taken_at = server.snapshot().taken_at
            metrics.unlink()
        assert order.result(30).done
        until(lambda: server.snapshot().taken_at > taken_at)
        until(metrics.exists)
        assert [server.log.count(line) for line in UNSEEN] == [1, 1, 1]
        until(lambda: not list(folder.glob("run/mpkernel/.*")))  # one may be being written


@pytest.mark.parametrize("storage", ["shared_memory", "temp_file"])
def test_a_file_cannot_be_read_for_now_and_is_not_gone(folder: Path, storage: str) -> None:
    with Served(folder, file_storage=storage) as server, server.steadily():
        server.ask("open", name="one")
        key = server.says("one", STORE.format(size=300_000)).strip()
        with starved(server.pid):
            refusal = server.refused("read", key=key)
            assert refusal.kind == "Unavailable"
            assert "Too many open files" in refusal.what
            assert "raise the limit of open files" in refusal.what
        found = server.ask("read", key=key)
        assert found["digest"] == hashlib.sha256(bytes(300_000)).hexdigest()
