"""Downloads whose bytes come to an end half-way, under each server: the browser sees that it has
not got all of them, and the log says why in one line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from dask_backend.machines import Machines, machines
from e2e.harness import Server, Tab
from e2e.test_virtual_files import file_in

from shm.names import tag_of

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    content = mo.download(os.urandom(48 << 20), "content.bin", "application/octet-stream")
    mo.vstack([mo.md(f"in process {os.getpid()} end"), content])
    return


if __name__ == "__main__":
    app.run()
"""

PROGRAM = """
import os, sys
sys.path.append({folder!r})
from asgi_app import make
app = make({notebook!r})
"""

COMPRESSING = f"""{PROGRAM}
from starlette.middleware.gzip import GZipMiddleware
app.add_middleware(GZipMiddleware)  # what it sends has no length
"""

WITH_MIDDLEWARE = f"""{PROGRAM}
from starlette.middleware.base import BaseHTTPMiddleware

async def pass_on(request, call_next):
    return await call_next(request)

app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
"""


class Way(NamedTuple):
    """A way to serve a notebook.

    Attributes:
        program: what is served; "": the notebook itself, by `mpkernel run`.
        command: what serves it.
    """

    program: str = ""
    command: tuple[str, ...] = ()


WAYS = {
    "mpkernel run": Way(),
    "uvicorn": Way(PROGRAM, ("uvicorn", "--port", "{port}")),
    "uvicorn, with middleware": Way(WITH_MIDDLEWARE, ("uvicorn", "--port", "{port}")),
    "uvicorn, compressing": Way(COMPRESSING, ("uvicorn", "--port", "{port}")),
    "hypercorn": Way(PROGRAM, ("hypercorn", "--bind", "127.0.0.1:{port}")),
    "granian": Way(
        PROGRAM, ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}")
    ),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(1) as cluster:
        yield cluster


@pytest.fixture
def notebook() -> Iterator[Path]:
    """In a folder that the worker has, too."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "large.py"
        path.write_text(NOTEBOOK)
        yield path


def serve(way: Way, notebook: Path, **env: str) -> AbstractAsyncContextManager[Server]:
    if not way.program:
        return Server(notebook, env=env)
    program = way.program.format(folder=os.path.dirname(__file__), notebook=str(notebook))
    (notebook.parent / "served.py").write_text(program)
    name, *options = way.command
    return Server(
        "served:app",
        program=(sys.executable, "-m", name),
        server_options=options,
        cwd=notebook.parent,
        env={"ASGI_BUILDER": "mpkernel", **env},
        health="/health",
    )


async def broken_off(tab: Tab, break_it: Callable[[Tab, int], Awaitable[object]]) -> str:
    """Begin a download and break it. Returns the name of the file, once the browser has seen
    that it does not have all of it.

    Args:
        tab: the page.
        break_it: called with the page, and the process id that it shows.
    """
    await tab.wait_for(" end")
    url = file_in(tab)
    [pid] = set(re.findall(r"in process (\d+)", tab.text))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        async with tab.stream(url) as response:
            assert response.status_code == 200
            chunks = response.aiter_bytes()
            await anext(chunks)
            await break_it(tab, int(pid))
            async for _ in chunks:
                continue
    return url.partition("-")[2]


async def the_line(server: Server, key: str) -> str:
    """The one line of the log about a file, which has no traceback."""
    said = f"the file {key} that a page fetches is broken off after "
    output = await asyncio.to_thread(server.wait_for_output, said)
    assert "Traceback" not in output
    assert "xception" not in output
    [line] = [line for line in output.splitlines() if key in line and "GET" not in line]
    return line


async def kill(tab: Tab, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await tab.wait_for(lambda tab: tab.received("banner"))


async def cut_short(_: Tab, pid: int) -> None:
    [folder] = Path(tempfile.gettempdir()).glob(f"{tag_of(pid).prefix}*")
    [file] = folder.iterdir()
    os.truncate(file, 1 << 20)


@pytest.mark.parametrize("name", WAYS)
async def test_a_download_of_a_process_that_ends_on_its_worker(
    name: str, cluster: Machines, notebook: Path
) -> None:
    way = WAYS[name]
    async with (
        serve(way, notebook, MPKERNEL_CLUSTER=cluster.address) as server,
        Tab(f"{server.url}/large" if way.program else server.url) as tab,
    ):
        line = await the_line(server, await broken_off(tab, kill))
        assert "of 48 MiB: its process was killed by SIGKILL" in line
        assert line.endswith(f" app={notebook}")


async def test_a_download_of_a_file_that_its_process_cuts_short(notebook: Path) -> None:
    async with (
        serve(Way(), notebook, MPKERNEL_FILE_STORAGE="temp_file") as server,
        Tab(server.url) as tab,
    ):
        line = await the_line(server, await broken_off(tab, cut_short))
        assert "of 48 MiB: " in line
        assert "cut short" in line
        assert line.endswith(f" app={notebook}")
