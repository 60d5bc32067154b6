"""Notebooks in a web application of the user's own: which are isolated, what they share, and what
ends when."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from descendants import command_of
from e2e.harness import NOTEBOOKS, Server, Tab, http_client
from waiting import PATIENCE_S

SLIDER = str(NOTEBOOKS / "slider.py")
BEHAVIOUR = str(NOTEBOOKS / "behaviour.py")
HELD_CELL = str(NOTEBOOKS / "held_cell.py")
PROGRAM = (sys.executable, str(Path(__file__).with_name("asgi_app.py")))
OTHER_FRAMEWORKS = [
    pytest.param(name, marks=pytest.mark.any_marimo) for name in ("starlette", "bare")
]


def asgi(*notebooks: str, builder: str, framework: str, **env: str) -> Server:
    """`asgi_app.py` with these notebooks."""
    return Server(
        *notebooks,
        program=PROGRAM,
        server_options=("{port}",),
        env={"ASGI_BUILDER": builder, "ASGI_FRAMEWORK": framework, **env},
        health="/slider/health" if framework == "bare" else "/health",
    )


async def pid_of(tab: Tab) -> int:
    """The process that a tab of the slider runs in."""
    await tab.wait_for("in process")
    return int(re.findall(r"in process (\d+)", tab.text)[0])


async def works(tab: Tab, number: int) -> None:
    await tab.wait_for("in process")
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} squared is {number**2}")


class TestMounted:
    @pytest.mark.parametrize("builder", ["mpkernel", "marimo"])
    @pytest.mark.parametrize("framework", ["fastapi", *OTHER_FRAMEWORKS])
    async def test_notebooks_have_a_process_each_and_the_servers_end_waits_for_a_cell_that_runs(
        self, builder: str, framework: str, tmp_path: Path
    ) -> None:
        env = {"HELD_CELL": str(tmp_path)}
        notebooks = (HELD_CELL, SLIDER, BEHAVIOUR)
        async with asgi(*notebooks, builder=builder, framework=framework, **env) as server:
            async with (
                Tab(f"{server.url}/held_cell") as held,
                Tab(f"{server.url}/slider") as first,
                Tab(f"{server.url}/slider") as second,
                Tab(f"{server.url}/behaviour") as other,
            ):
                await works(first, 7)
                await other.wait_for("nothing gave")
                theirs = int(re.findall(r"in process (\d+) end", other.text)[0])
                assert await pid_of(first) == await pid_of(second) != theirs
                assert server.pid not in (theirs, await pid_of(first))
                await runs(held, tmp_path)
                # A supervisor says it again while it waits; that shall not hurry.
                psutil.Process(server.pid).terminate()
                await asyncio.to_thread(server.wait_for_output, "waits for commands that run")
                psutil.Process(server.pid).terminate()
                (tmp_path / "go on").touch()
                assert await asyncio.to_thread(server.stop, signal.SIGTERM) == -signal.SIGTERM
                assert (tmp_path / "ended").exists()
                for tab in (held, first):
                    # Without a reason: a page connects again, where one that is told that its
                    # session is over would not.
                    assert (await tab.wait_closed(), tab.close_reason) == (1012, "")
            await asyncio.to_thread(server.assert_nothing_is_left)

    @pytest.mark.any_marimo
    async def test_ctrl_c_hurries_it(self, tmp_path: Path) -> None:
        env = {"HELD_CELL": str(tmp_path), "MPKERNEL_DRAIN_GRACE_S": "120"}
        async with (
            asgi(HELD_CELL, SLIDER, builder="mpkernel", framework="fastapi", **env) as server,
            Tab(f"{server.url}/held_cell") as tab,
        ):
            await runs(tab, tmp_path)
            psutil.Process(server.pid).send_signal(signal.SIGINT)
            await asyncio.to_thread(server.wait_for_output, "waits for commands that run")
            await asyncio.to_thread(server.stop, signal.SIGINT)
            assert not (tmp_path / "ended").exists()


async def runs(tab: Tab, folder: Path) -> None:
    """Have the held cell run, and wait for its beginning."""
    await tab.wait_until_run()
    await tab.set_ui("go", 1)
    async with asyncio.timeout(PATIENCE_S):
        while not (folder / "began").exists():
            await asyncio.sleep(0.01)


DYNAMIC = """
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import mpkernel


async def health(request):
    return JSONResponse("healthy")


def tells(app):
    async def told(scope, receive, send):
        async def tell(message):
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-file", scope["marimo_app_file"].encode()))
            await send(message)

        await app(scope, receive, tell)

    return told


notebooks = (
    mpkernel.create_asgi_app(session_ttl=1, html_head="<!-- ours -->")
    .with_dynamic_directory(
        path="/all",
        directory=sys.argv[2],
        validate_callback=lambda path, scope: not path.startswith("behaviour"),
        middleware=[tells],
    )
    .build()
)
routes = [Route("/health", health), Mount("/", notebooks)]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="error")
"""


class TestBuilder:
    async def test_a_token_is_asked_for(self) -> None:
        async with (
            asgi(SLIDER, builder="mpkernel", framework="fastapi", ASGI_TOKEN="secret") as server,
            http_client() as client,
        ):
            url = f"{server.url}/slider/"
            assert "login" in (await client.get(url)).headers["location"]
            await client.get(url, params={"access_token": "wrong"})
            assert (await client.get(url)).status_code == 303
            await client.get(url, params={"access_token": "secret"})
            assert (await client.get(url)).status_code == 200

    async def test_folders_checks_middleware_and_the_sessions_time_are_marimos(
        self, notebook_dir: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "served.py"
        path.write_text(DYNAMIC)
        async with (
            Server(
                notebook_dir, program=(sys.executable, str(path)), server_options=("{port}",)
            ) as server,
            http_client() as client,
        ):
            late = Path(shutil.copy(SLIDER, notebook_dir / "late.py"))
            assert (await client.get(f"{server.url}/all/behaviour/")).status_code == 404
            page = await client.get(f"{server.url}/all/late/")
            assert page.headers["x-file"] == str(late)
            assert "<!-- ours -->" in page.text
            async with Tab(f"{server.url}/all/late", client=client) as tab:
                await works(tab, 5)
                host = psutil.Process(await pid_of(tab))
                assert host.ppid() == server.pid
            # The session's time after its tab was closed is one second.
            await asyncio.to_thread(psutil.wait_procs, [host], timeout=30)
            assert not host.is_running()


TWO = """
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

import mpkernel

with open(sys.argv[2], "a") as log:
    log.write(f"{__name__}\\n")

app = FastAPI()
for name in ("slider", "inputs"):
    notebooks = mpkernel.create_asgi_app().with_app(path="", root=f"{sys.argv[3]}/{name}.py")
    app.mount(f"/{name}", notebooks.build())

app.get("/health")(lambda: "healthy")
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


def two(directory: Path) -> Server:
    """Two applications of ours in one of FastAPI's, in a program without `if __name__ == …`."""
    path = directory / "served.py"
    path.write_text(TWO)
    return Server(
        directory / "log",
        NOTEBOOKS,
        program=(sys.executable, str(path)),
        server_options=("{port}",),
    )


def hosts_of(server: Server) -> list[psutil.Process]:
    return [p for p in server.descendants() if "tracker_fd=None" in command_of(p)]


class TestShared:
    @pytest.mark.any_marimo
    async def test_no_host_runs_the_servers_own_program(self, tmp_path: Path) -> None:
        async with two(tmp_path) as server, Tab(f"{server.url}/slider") as tab:
            await works(tab, 3)
            assert (tmp_path / "log").read_text().split() == ["__main__"]

    @pytest.mark.any_marimo
    async def test_two_servers_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        files = [tmp_path / "one", tmp_path / "other"]
        for file in files:
            file.mkdir()
        async with two(files[0]) as one, Tab(f"{one.url}/slider") as tab:
            await works(tab, 3)
            pid = await pid_of(tab)
            for end in (signal.SIGTERM, signal.SIGKILL):
                async with two(files[1]) as other, Tab(f"{other.url}/slider") as there:
                    await works(there, 4)
                    assert await pid_of(there) != pid
                    if end is signal.SIGKILL:
                        await asyncio.to_thread(other.kill)
                    else:
                        await asyncio.to_thread(other.stop, end)
                    await asyncio.to_thread(other.assert_nothing_is_left)
                await works(tab, end + 10)
            assert await pid_of(tab) == pid
