"""Where libzmq may not be installed: the installation that the page of serving describes is made
and used."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, http_client, mapped_files

UV = str(Path(sys.executable).with_name("uv"))
ROOT = Path(__file__).parents[2]
SLIDER = str(NOTEBOOKS / "slider.py")
DOWNLOAD = str(NOTEBOOKS / "download.py")
ASGI_APP = str(Path(__file__).with_name("asgi_app.py"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a virtual environment with marimo and mpkernel, and without libzmq."""
    directory = tmp_path_factory.mktemp("install")
    subprocess.run([UV, "venv", "-q", "--clear", "--python", sys.executable, directory], check=True)
    python = str(directory / "bin" / "python")
    marimo = f"marimo=={importlib.metadata.version('marimo')}"
    for wanted in (["--no-deps", marimo], [f"{ROOT}[marimo-without-zmq]"]):
        install = [UV, "pip", "install", "-q", "--python", python, *wanted]
        subprocess.run(install, check=True, cwd=directory)
    return python


def test_pyzmq_is_all_that_is_missing(python: str, tmp_path: Path) -> None:
    found = subprocess.run([python, "-c", "import zmq"], cwd=tmp_path, capture_output=True)
    assert b"ModuleNotFoundError: No module named 'zmq'" in found.stderr
    check = [UV, "pip", "check", "--python", python]
    checked = subprocess.run(check, capture_output=True, text=True).stderr
    (complaint,) = [line for line in checked.splitlines() if line.startswith("The package")]
    assert re.search("requires `pyzmq.*, but it's not installed", complaint)


def test_the_pages_of_documentation_are_installed(python: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [python, "-m", "mpkernel", "docs", "serving"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "Where libzmq may not be installed" in shown.stdout


async def is_served(server: Server, url: str, file: str | None = None) -> None:
    """A notebook works there, in a process of its own, and nobody has loaded libzmq."""
    async with Tab(url, file) as tab:
        await tab.wait_for("in process")
        await tab.set_ui("Number", 12)
        await tab.wait_for("number 12 squared is 144")
        hosts = server.descendants()
        assert hosts
        for process in (psutil.Process(server.pid), *hosts):
            maps = await asyncio.to_thread(mapped_files, process)
            assert "zmq" not in maps


async def test_mpkernel_run_serves_one_notebook_and_several(python: str, tmp_path: Path) -> None:
    program = (python, "-m", "mpkernel", "run")
    async with Server(SLIDER, program=program, cwd=tmp_path) as server:
        await is_served(server, server.url)
    async with Server(SLIDER, DOWNLOAD, program=program, cwd=tmp_path) as server:
        await is_served(server, server.url, SLIDER)
        async with Tab(server.url, DOWNLOAD) as tab:
            await tab.wait_for(lambda tab: "@file/" in tab.html)


@pytest.mark.parametrize("framework", ["starlette", "bare"])
async def test_create_asgi_app_serves(python: str, framework: str, tmp_path: Path) -> None:
    async with Server(
        SLIDER,
        program=(python, ASGI_APP),
        server_options=("{port}",),
        cwd=tmp_path,
        env={"ASGI_BUILDER": "mpkernel", "ASGI_FRAMEWORK": framework},
        health="/slider/health" if framework == "bare" else "/health",
    ) as server:
        await is_served(server, f"{server.url}/slider")
        if framework == "starlette":
            async with http_client() as client:
                zmq = (await client.get(f"{server.url}/zmq")).json()
                assert zmq == {"found": False, "imported": False}


def test_marimos_own_builder_goes_on_to_say_what_it_needs(python: str, tmp_path: Path) -> None:
    tried = subprocess.run(
        [
            python,
            "-c",
            "import marimo, mpkernel; mpkernel.create_asgi_app(); marimo.create_asgi_app()",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "zmq is required" in tried.stderr
