"""A served folder of notebooks, from outside: isolation, how it ends, and what user code may do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from descendants import command_of
from e2e.harness import EXAMPLES, NOTEBOOKS, Server, Tab, http_client, open_tabs

SALES = str(EXAMPLES / "sales" / "dashboard.py")
WEATHER = str(EXAMPLES / "weather" / "stations.py")
SLIDER = str(NOTEBOOKS / "slider.py")
BEHAVIOUR = str(NOTEBOOKS / "behaviour.py")
OWN_PROCESSES = [
    pytest.param(name, marks=pytest.mark.any_marimo) for name in ("fork", "spawn", "executor")
]

ASGI = (sys.executable, str(Path(__file__).with_name("asgi_app.py")))
MARIMO = (sys.executable, "-m", "marimo", "run")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for tests that leave it as it was."""
    with Server(EXAMPLES, NOTEBOOKS, standby=True) as server:
        yield server


def children_of(server: Server) -> dict[str, psutil.Process]:
    """The server's own spawned processes, by their command line."""
    children = {}
    for process in server.descendants():
        try:
            command = command_of(process)
            if process.ppid() == server.pid and "spawn_main" in command:
                children[f"{process.pid} {command}"] = process
        except psutil.NoSuchProcess:
            continue
    return children


def hosts_of(server: Server) -> list[psutil.Process]:
    """The app hosts among them, a standby too: multiprocessing's own children share the server's
    tracker."""
    return [child for line, child in children_of(server).items() if "tracker_fd=None" in line]


async def act(tab: Tab, action: str) -> str:
    """Have the behaviour notebook do something. Returns what it shows then."""
    await tab.wait_for("nothing gave")
    await tab.set_ui("Action", [action])
    await tab.wait_for(f"{action} gave")
    found = re.search(rf"{action} gave (.*?) in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return found[1]


class TestOneServer:
    async def test_apps_have_a_process_each_and_tabs_of_one_share_it(self, server: Server) -> None:
        async with http_client() as client:
            tabs = [Tab(server.url, file, client=client) for file in (SALES, SALES, WEATHER)]
            for tab in tabs:
                await tab.open()
                await tab.wait_for("runs in process")
            pids = [int(re.findall(r"runs in process (\d+)", tab.text)[0]) for tab in tabs]
            assert pids[0] == pids[1] != pids[2]
            assert set(pids) <= {host.pid for host in hosts_of(server)}
            assert "from the folder sales" in tabs[0].text
            assert "from the folder weather" in tabs[2].text
            for tab in tabs:
                await tab.close()

    async def test_only_the_web_server_listens_on_the_network(self, server: Server) -> None:
        async with Tab(server.url, SALES) as tab:
            await tab.wait_for("runs in process")
            listening = [
                (process.pid, connection.laddr.port)
                for process in (psutil.Process(server.pid), *server.descendants())
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert listening == [(server.pid, server.port)]

    async def test_a_killed_app_comes_back_and_nothing_else_notices(self, server: Server) -> None:
        async with Tab(server.url, SALES) as tab, Tab(server.url, WEATHER) as other:
            await tab.wait_for("runs in process")
            await other.wait_for("runs in process")
            pid = int(re.findall(r"runs in process (\d+)", tab.text)[0])
            os.kill(pid, signal.SIGKILL)
            await tab.wait_for(lambda tab: tab.received("banner"))
            await tab.wait_for(lambda tab: f"runs in process {pid}" not in tab.text)
            await tab.wait_for("runs in process")
            await other.set_ui("Station", ["Summit"])
            await other.wait_for("Summit at")
            assert not other.received("banner")
        assert "the process of dashboard.py was killed by SIGKILL" in server.output()

    async def test_a_file_that_no_host_announced_is_not_found(self, server: Server) -> None:
        async with Tab(server.url, str(NOTEBOOKS / "download.py")) as tab:
            await tab.wait_until_run()
            found = re.search(r"\./@file/(\d+)-([\w.-]+)", tab.html)
            assert found is not None, tab.html
            whole = await tab.get(found[0])
            assert len(whole.content) == int(found[1])
            longer = await tab.get(f"./@file/{int(found[1]) + 4096}-{found[2]}")
            assert longer.content == whole.content
            part = await tab.get(found[0], {"Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, whole.content[10:20])
            blocks = [name for name in os.listdir("/dev/shm") if name.startswith("mpk-")]
            assert blocks
            names = ("psm_12345678", *blocks, "../etc/passwd", "..%2fetc%2fpasswd", "x" * 10_000)
            for name in (*names, "a.bin", "", "%00", found[2] + "/", found[2][:-1]):
                assert (await tab.get(f"./@file/10-{name}")).status_code == 404, name

    @pytest.mark.any_marimo
    async def test_forty_tabs_at_once_share_one_process(self, server: Server) -> None:
        async with open_tabs(server.url, SLIDER, 40) as tabs:
            for tab in tabs:
                await tab.wait_until_run()
            pids = {re.findall(r"in process (\d+)", tab.text)[0] for tab in tabs}
            assert len(pids) == 1

    async def test_a_tab_of_a_notebook_that_is_not_served_is_refused(self, server: Server) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await Tab(server.url, __file__).open()


class TestUserCode:
    @pytest.mark.parametrize("action", [*OWN_PROCESSES, "asyncio"])
    async def test_a_notebook_may_use_processes_and_asyncio_of_its_own(
        self, server: Server, action: str
    ) -> None:
        expected = "[0, 1, 2, 3]" if action == "asyncio" else "[0, 1, 4, 9]"
        async with Tab(server.url, BEHAVIOUR) as tab:
            assert await act(tab, action) == expected

    @pytest.mark.any_marimo
    async def test_ctrl_c_in_a_subprocess_does_what_it_always_does(self, server: Server) -> None:
        async with Tab(server.url, BEHAVIOUR) as tab:
            assert await act(tab, "subprocess") == str(-signal.SIGINT)

    async def test_a_large_output_arrives_whole(self, server: Server) -> None:
        async with Tab(server.url, BEHAVIOUR) as tab:
            assert await act(tab, "large") == "length 4000000"

    @pytest.mark.any_marimo
    async def test_a_spinning_tab_leaves_a_second_one_working(self) -> None:
        async with Server(BEHAVIOUR) as server, Tab(server.url, BEHAVIOUR) as spinning:
            await spinning.wait_for("nothing gave")
            await spinning.set_ui("Action", ["spin"])
            async with Tab(server.url, BEHAVIOUR) as tab:
                assert await act(tab, "asyncio") == "[0, 1, 2, 3]"


class TestEnd:
    @pytest.mark.any_marimo
    @pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    async def test_nothing_outlives_the_server(
        self, ending: signal.Signals, tmp_path: Path
    ) -> None:
        """Neither a standby, nor an app that does nothing, computes in Python or is in a long call
        of C code."""
        actions = ("nothing", "spin", "c")
        for action in actions:
            shutil.copy(BEHAVIOUR, tmp_path / f"{action}.py")
        async with Server(tmp_path, options=["--drain-grace-s", "1"], standby=True) as server:
            async with contextlib.AsyncExitStack() as tabs:
                for action in actions:
                    tab = Tab(server.url, str(tmp_path / f"{action}.py"))
                    await tabs.enter_async_context(tab)
                    await tab.wait_for("nothing gave")
                    await tab.set_ui("Action", [action])
                assert len(hosts_of(server)) >= len(actions)
                if ending is signal.SIGKILL:
                    await asyncio.to_thread(server.kill)
                else:
                    await asyncio.to_thread(server.stop, ending)
            await asyncio.to_thread(server.assert_nothing_is_left)

    @pytest.mark.any_marimo
    async def test_no_host_outlives_a_server_whose_fork_holds_its_pipes(self) -> None:
        async with (
            Server(BEHAVIOUR, program=ASGI, server_options=("{port}",)) as server,
            http_client() as client,
        ):
            async with Tab(f"{server.url}/behaviour") as tab:
                await tab.wait_for("nothing gave")
                await tab.set_ui("Action", ["c"])
                fork = (await client.get(f"{server.url}/fork")).json()
                hosts = [host for host in hosts_of(server) if host.pid != fork]
                assert hosts
                await asyncio.to_thread(server.kill)
            _, alive = await asyncio.to_thread(psutil.wait_procs, hosts, timeout=5)
            assert not alive
            psutil.Process(fork).kill()

    async def test_tabs_dropped_before_they_are_ready_leave_nothing(self) -> None:
        options = ["--session-ttl", "2"]
        async with Server(SLIDER, options=options) as server:
            async with http_client() as client:
                tabs = [Tab(server.url, SLIDER, client=client, history=5) for _ in range(150)]

                async def open_and_drop(tab: Tab) -> None:
                    opening = asyncio.create_task(tab.open())
                    await asyncio.wait([opening], timeout=0.2)
                    opening.cancel()
                    await asyncio.gather(opening, return_exceptions=True)
                    await tab.drop()

                await asyncio.gather(*(open_and_drop(tab) for tab in tabs))
                async with Tab(server.url, SLIDER) as fresh:
                    await fresh.wait_until_run()
            deadline = time.monotonic() + 30
            while hosts_of(server):
                assert time.monotonic() < deadline, "the app's process stays without a session"
                await asyncio.sleep(0.1)
            threads = psutil.Process(server.pid).num_threads()
            assert threads < 60, f"{threads} threads"


OPTIONS = """
import marimo

app = marimo.App()


@app.cell
def _():
    import sys

    import marimo as mo

    mo.md(f"first edition; {mo.cli_args()} {sys.argv[1:]} {mo.query_params()['shade']} end")
    return


if __name__ == "__main__":
    app.run()
"""


class TestOptions:
    async def test_marimos_options_pass_through(self, tmp_path: Path) -> None:
        notebook = tmp_path / "options.py"
        notebook.write_text(OPTIONS)
        # What follows `--` has to follow the path, so that both stand last.
        options = ["--base-url", "/base", "--watch", "--show-tracebacks"]
        async with (
            Server(
                notebook, "--", "--colour", "blue", options=options, health="/base/health"
            ) as server,
            Tab(f"{server.url}/base", str(notebook), query={"shade": "dark"}) as tab,
        ):
            await tab.wait_for("first edition; {'colour': 'blue'} ['--colour', 'blue'] dark end")
            notebook.write_text(OPTIONS.replace("first", "second"))
            await tab.wait_for(lambda tab: tab.received("reload") or "second" in tab.text)


class TestDropIn:
    async def is_isolated(self, server: Server, url: str, file: str | None) -> bool:
        async with Tab(url, file) as tab:
            await tab.wait_for("nothing gave")
            pid = int(re.findall(r"in process (\d+) end", tab.text)[0])
            assert (pid == server.pid) is not (pid in {h.pid for h in hosts_of(server)})
            return pid != server.pid

    @pytest.mark.parametrize("flag", ["with", "without"])
    async def test_marimo_run_of_several_notebooks(self, flag: str, tmp_path: Path) -> None:
        if flag == "with":
            (tmp_path / "pyproject.toml").write_text(
                "[tool.marimo.experimental]\nisolate_apps=true\n"
            )
        copy = tmp_path / "behaviour.py"
        copy.write_text(Path(BEHAVIOUR).read_text())
        (tmp_path / "slider.py").write_text(Path(SLIDER).read_text())
        async with Server(tmp_path, program=MARIMO, cwd=tmp_path) as server:
            assert await self.is_isolated(server, server.url, str(copy))

    async def test_create_asgi_app(self) -> None:
        async with Server(BEHAVIOUR, SLIDER, program=ASGI, server_options=("{port}",)) as server:
            assert await self.is_isolated(server, f"{server.url}/behaviour", None)

    async def test_marimo_run_of_one_notebook_stays_as_it_is(self) -> None:
        async with Server(BEHAVIOUR, program=MARIMO) as server:
            assert not await self.is_isolated(server, server.url, BEHAVIOUR)

    async def test_mpkernel_run_of_one_notebook_is_isolated(self) -> None:
        async with Server(BEHAVIOUR) as server:
            assert await self.is_isolated(server, server.url, BEHAVIOUR)

    async def test_a_disabled_mpkernel_leaves_marimo_alone(self) -> None:
        async with Server(NOTEBOOKS, program=MARIMO, env={"MPKERNEL_DISABLE": "1"}) as server:
            assert not await self.is_isolated(server, server.url, BEHAVIOUR)

    async def test_edit_mode_stays_as_it_is(self) -> None:
        program = (sys.executable, "-m", "marimo", "edit")
        async with (
            Server(BEHAVIOUR, program=program, options=["--skip-update-check"]) as server,
            Tab(server.url, BEHAVIOUR),
        ):
            assert children_of(server)
            assert not hosts_of(server)
