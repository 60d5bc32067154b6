"""Servers with several processes on one port: a tab is served by the process that has its session,
whichever accepts its connections, and comes back when that process is gone.

The long run, with 50 tabs, 20 reloads of all processes and a minute of killed ones:

    MPKERNEL_TEST_WORKERS=long python -m pytest -o faulthandler_timeout=0 tests/e2e/test_workers.py
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from e2e.events import EventsTab, needs_server_sent_events
from e2e.harness import NOTEBOOKS, Server, Tab, TabClosed, http_client
from httpx import HTTPStatusError
from waiting import LONG_PATIENCE_S, PATIENCE_S
from websockets.exceptions import WebSocketException

from benchmarks.marimo_server.workers import client_of, connect_through, workers_of
from mpkernel.cli.server_table import report
from mpkernel.server.operations.finding import published_servers

SLIDER, DOWNLOAD, UPLOAD = (NOTEBOOKS / f"{name}.py" for name in ("slider", "download", "upload"))

PROGRAM = """
import os, sys
sys.path.append({folder!r})
from asgi_app import make
app = make(*{notebooks!r})
"""
UVICORN = ("--port", "{port}", "--timeout-keep-alive", "100", "--log-level", "warning")
GUNICORN = ("-k", "uvicorn_worker.UvicornWorker", "--bind", "127.0.0.1:{port}", "--keep-alive=100")
HYPERCORN = ("--bind", "127.0.0.1:{port}", "--graceful-timeout", "1", "--keep-alive", "100")
TOKEN = {"access_token": "of-tests"}
IS_LONG = os.environ.get("MPKERNEL_TEST_WORKERS") == "long"
TABS, PROCESSES, RELOADS, KILLS = (50, 4, 20, 30) if IS_LONG else (8, 3, 1, 3)
KILL_INTERVAL_S = 2.0
COMMANDS = {
    "uvicorn": (*UVICORN, "--workers"),
    "gunicorn": (*GUNICORN, "--no-control-socket", "-w"),
    "hypercorn": (*HYPERCORN, "-w"),
}


@contextlib.asynccontextmanager
async def served(
    folder: Path, name: str = "uvicorn", count: int = 2, **env: str
) -> AsyncIterator[Server]:
    program = PROGRAM.format(
        folder=os.path.dirname(__file__), notebooks=[str(one) for one in (SLIDER, DOWNLOAD, UPLOAD)]
    )
    (folder / "served.py").write_text(program)
    server = Server(
        "served:app",
        program=(sys.executable, "-m", name),
        server_options=(*COMMANDS[name], str(count)),
        cwd=folder,
        env={
            "ASGI_BUILDER": "mpkernel",
            "ASGI_FRAMEWORK": "fastapi",
            "XDG_STATE_HOME": str(folder / "state"),
            "MPKERNEL_SESSION_STORE_DELAY_S": "0",
            **env,
        },
    )
    async with server:
        yield server
        await asyncio.to_thread(server.stop, signal.SIGTERM)


def pid_of(tab: Tab) -> int:
    return int(re.findall(r"in process (\d+)", tab.text)[-1])


@pytest.mark.parametrize(
    "name",
    [
        "uvicorn",
        *(pytest.param(name, marks=pytest.mark.any_marimo) for name in ("gunicorn", "hypercorn")),
    ],
)
async def test_a_tab_is_served_by_the_process_that_has_its_session(
    tmp_path: Path, name: str
) -> None:
    async with served(tmp_path, name, ASGI_TOKEN=TOKEN["access_token"]) as server:
        first, second = workers_of(server)
        async with client_of(first, server) as own, client_of(second, server) as others:
            own.follow_redirects = True
            tab = Tab(f"{server.url}/slider", query=TOKEN, client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("in process")
            pid = pid_of(tab)
            assert psutil.Process(pid).ppid() == first.pid
            others.cookies = own.cookies  # of the login
            assert (await others.get(f"{server.url}/slider/")).status_code == 200
            tab._client = others
            await tab.set_ui("Number", 7)
            await tab.wait_for("number 7 squared")
            await tab.close()
            await connect_through(second, server, tab)
            await tab.set_ui("Number", 8)
            await tab.wait_for("number 8 squared")
            assert pid_of(tab) == pid
            if name == "hypercorn":  # it ends with any of its processes
                await tab.close()
                return
            first.kill()
            with pytest.raises(TabClosed):
                await tab.wait_for(lambda _: False)
            assert tab.close_code == 1012
            await tab.close()
            await tab.open()
            await tab.wait_for("number 8 squared")
            assert pid_of(tab) != pid
            await tab.close()


async def test_with_marimo_alone_a_request_that_another_process_gets_is_refused(
    tmp_path: Path,
) -> None:
    """The last column of the table in docs/operating.md."""
    async with served(tmp_path, ASGI_BUILDER="marimo", MPKERNEL_DISABLE="1") as server:
        first, second = workers_of(server)
        async with client_of(first, server) as own, client_of(second, server) as others:
            tab = Tab(f"{server.url}/slider", client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("in process")
            await tab.set_ui("Number", 7)
            await tab.wait_for("number 7 squared")
            tab._client = others
            with pytest.raises(HTTPStatusError, match="500"):
                await tab.set_ui("Number", 8)
            await tab.close()


async def test_tabs_of_one_browser_share_their_values_whichever_process_accepts_them(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, MPKERNEL_SESSION_STORE_SCOPE="browser") as server:
        first, second = workers_of(server)
        async with client_of(first, server) as own, client_of(second, server) as others:
            tab = Tab(f"{server.url}/slider", client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("in process")
            await tab.set_ui("Number", 7)
            await tab.wait_for("number 7 squared")
            others.cookies = own.cookies
            beside = Tab(f"{server.url}/slider", client=others)
            await connect_through(second, server, beside)
            await beside.wait_for("number 7 squared")
            assert psutil.Process(pid_of(beside)).ppid() == first.pid
            await tab.set_ui("Number", 8)
            await tab.wait_for("number 8 squared")
            await tab.close()
            first.kill()
            await lost(beside)
            async with Tab(f"{server.url}/slider", client=others) as later:
                await later.wait_for("number 8 squared")
                await beside.open()
                await beside.wait_for("number 7 squared")
                assert pid_of(beside) == pid_of(later)
                await beside.close()


@needs_server_sent_events
async def test_files_uploads_and_events_go_through_another_process(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        first, second = workers_of(server)
        async with client_of(first, server) as own, client_of(second, server) as others:
            tab = Tab(f"{server.url}/download", client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("bytes, sha256")
            tab._client = others
            await tab.set_ui("MiB", 24)
            await tab.wait_for(f"{24 << 20} bytes")
            url = re.findall(r"\./@file/\d+-[\w.-]+", tab.html)[-1]
            content = (await tab.get(url)).content
            assert hashlib.sha256(content).hexdigest() in tab.text
            part = await tab.get(url, {"Range": "bytes=20000000-20000099"})
            assert (part.status_code, part.content) == (206, content[20000000:20000100])
            known = await tab.get(url, {"If-None-Match": part.headers["etag"]})
            assert known.status_code == 304
            assert (await tab.get(url + "x")).status_code == 404
            await tab.close()

            tab = Tab(f"{server.url}/upload", client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("has []")
            tab._client = others
            await tab.set_ui("Upload", [["sales.csv", "QUFB" * 4_000_000]])
            await tab.wait_for("has [('sales.csv', 12000000, b'AAA')]")
            await tab.close()

            async with asyncio.timeout(PATIENCE_S):  # snapshots are taken once a second
                while "2 processes of one server" not in " ".join(report(published_servers())):
                    await asyncio.sleep(0.1)
            tab = EventsTab(f"{server.url}/slider", client=own)
            await connect_through(first, server, tab)
            await tab.wait_for("in process")
            await tab.close()


@pytest.mark.any_marimo
@pytest.mark.timeout(600 + 60 * RELOADS)
async def test_after_each_reload_of_all_processes_every_tab_comes_back_with_its_value(
    tmp_path: Path,
) -> None:
    async with (
        served(tmp_path, "gunicorn", PROCESSES) as server,
        staying_tabs(server) as all_are_back,
    ):
        for _ in range(RELOADS):
            before = workers_of(server)
            os.kill(server.pid, signal.SIGHUP)
            _, alive = await asyncio.to_thread(psutil.wait_procs, before, timeout=60)
            assert not alive
            await all_are_back()


@pytest.mark.any_marimo
@pytest.mark.timeout(600 + 10 * KILLS)
async def test_while_one_process_after_the_other_is_killed_every_tab_comes_back(
    tmp_path: Path,
) -> None:
    async with (
        served(tmp_path, "uvicorn", PROCESSES) as server,
        staying_tabs(server) as all_are_back,
    ):
        for _ in range(KILLS):
            random.choice(workers_of(server)).kill()
            await asyncio.sleep(KILL_INTERVAL_S)
        await all_are_back()


@contextlib.asynccontextmanager
async def staying_tabs(server: Server) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Tabs with a value each, which connect again as often as they are disconnected. Gives what
    waits until every tab is connected and shows its value, from a process that lives."""
    async with http_client() as client:
        tabs = {Tab(f"{server.url}/slider", client=client): 100 + one for one in range(TABS)}
        await asyncio.gather(*(tab.open() for tab in tabs))
        for tab, number in tabs.items():
            await tab.wait_for("in process", LONG_PATIENCE_S)
            await tab.set_ui("Number", number)
        for tab, number in tabs.items():
            await tab.wait_for(f"number {number} squared", LONG_PATIENCE_S)

        async def all_are_back() -> None:
            async with asyncio.timeout(LONG_PATIENCE_S):
                while not all(is_back(tab, number, server) for tab, number in tabs.items()):
                    for one in staying:
                        if one.done():
                            await one
                    await asyncio.sleep(0.1)

        staying = [asyncio.create_task(stay(tab)) for tab in tabs]
        try:
            yield all_are_back
        finally:
            for one in staying:
                one.cancel()
            await asyncio.gather(*staying, return_exceptions=True)
            await asyncio.gather(*(tab.close() for tab in tabs))


async def stay(tab: Tab) -> None:
    while True:
        await tab.wait_closed(600)
        await tab.close()
        tab._outputs.clear()
        await open_again(tab)


def is_back(tab: Tab, number: int, server: Server) -> bool:
    if tab.close_code is not None or f"number {number} squared" not in tab.text:
        return False
    try:
        return psutil.Process(pid_of(tab)).ppid() in {one.pid for one in workers_of(server)}
    except psutil.NoSuchProcess:
        return False


async def lost(tab: Tab) -> None:
    with pytest.raises(TabClosed):
        await tab.wait_for(lambda _: False)
    await tab.close()


async def open_again(tab: Tab) -> None:
    """As a page does: a process that is about to end may accept its connection, and close it."""
    async with asyncio.timeout(LONG_PATIENCE_S):
        while True:
            try:
                await tab.open()
            except (OSError, WebSocketException, TabClosed):
                await tab.close()
                await asyncio.sleep(0.05)
            else:
                return
