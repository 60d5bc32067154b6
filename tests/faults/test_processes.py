"""EAGAIN: a server, or an app, gets no more processes and threads (RLIMIT_NPROC)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from faults.limits import cpu_share
from faults.served import Served
from faults.users import as_somebody, limit_processes, no_more_processes
from waiting import until


def test_a_start_without_processes_is_refused_and_a_return_waits(folder: Path) -> None:
    settings = {"restart_limit": 1, "restart_backoff_s": 0.2, "restart_backoff_max_s": 0.4}
    with Served(folder, before=as_somebody(), **settings) as server, server.steadily():
        server.ask("open", name="one")
        server.says("one", "pass")
        (host,) = server.ask("hosts", app="one.py")
        before = server.descriptors(), server.children()
        with no_more_processes(server.pid):
            refusal = server.refused("open", name="two", app="two.py")
            assert refusal.kind == "HostStartError"
            assert "Resource temporarily unavailable" in refusal.what
            assert "limits on processes" in refusal.remedy
            assert server.descriptors() <= before[0]  # one may have been open for a moment
            assert server.children() == before[1]
            os.kill(host, signal.SIGKILL)
            came_back = server.later("restarted", name="one")
            until(lambda: server.log.count("no process could be launched") > 3)
            assert cpu_share(server.pid) < 0.3
            assert not came_back.done()
        assert "was killed by SIGKILL" in came_back.result(30)
        assert server.says("one", "print('again')") == "again\n"
        server.ask("open", name="two", app="two.py")
        assert server.says("two", "print('now')") == "now\n"


def test_a_warm_process_cannot_be_connected_without_a_thread(folder: Path) -> None:
    with Served(folder, before=as_somebody(), standby=1) as server:
        until(lambda: server.ask("standby"))
        with no_more_processes(server.pid):
            refusal = server.refused("open", name="one")
            assert refusal.kind == "HostStartError"
            assert "one.py was started, but not connected: can't start new thread" in refusal.what
            assert "threads" in refusal.remedy
        server.ask("open", name="one")
        assert server.says("one", "print('now')") == "now\n"
        server.says("one", "import os; os.write(2, b'relayed\\n')")
        until(lambda: "[one.py] relayed" in server.log)


def test_a_session_for_which_its_app_gets_no_thread_is_refused_alone(folder: Path) -> None:
    with Served(folder, before=as_somebody()) as server, server.steadily():
        server.ask("open", name="one")
        server.says("one", "pass")
        (host,) = server.ask("hosts", app="one.py")
        with no_more_processes(host):
            refusal = server.refused("open", name="two")
            assert refusal.kind == "KernelFailed"
            assert "session two of one.py" in refusal.what
            assert "no thread could be started" in refusal.what
            assert server.says("one", "print('here')") == "here\n"
        server.ask("open", name="two")
        assert server.says("two", "print('now')") == "now\n"
        assert server.ask("hosts", app="one.py") == [host]


def test_a_session_that_comes_back_waits_for_a_thread(folder: Path) -> None:
    settings = {"processes_max": 2, "sessions_per_process": 2}
    with Served(folder, before=as_somebody(), **settings) as server, server.steadily():
        for size, name in enumerate(("one", "two", "three")):
            server.ask("open", name=name)
            server.ask("assign", name=name, size=size)
            server.says(name, "pass")
        first, second = server.ask("hosts", app="one.py")
        with no_more_processes(second):
            os.kill(first, signal.SIGKILL)
            until(lambda: "no thread could be started" in server.log)
        for name in ("one", "two"):
            assert "was killed by SIGKILL" in server.ask("restarted", name=name)
        for size, name in enumerate(("one", "two", "three")):
            assert server.says(name, "print(len(blob))") == f"{size}\n"


def test_a_session_whose_app_gets_no_thread_goes_on_without_what_needs_one(folder: Path) -> None:
    with Served(folder, before=as_somebody()) as server, server.steadily():
        server.ask("open", name="one")
        server.says("one", "from mpkernel.kernel.progress import progress_bar; banana = 1")
        (host,) = server.ask("hosts", app="one.py")
        with no_more_processes(host):
            assert server.ask("complete", name="one", code="ban") == []
            assert server.says("one", "print(sum(progress_bar(range(100))))") == "4950\n"
        assert server.ask("complete", name="one", code="ban") == ["banana"]
        assert server.says("one", "print('now')") == "now\n"
        assert server.ask("hosts", app="one.py") == [host]


def test_a_server_without_threads_leaves_in_order(folder: Path) -> None:
    with Served(folder, before=as_somebody()) as server:
        server.ask("open", name="one")
        server.says("one", "pass")
        limit_processes(server.pid)
