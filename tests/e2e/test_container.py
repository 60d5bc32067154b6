"""A server that is the first process of its pid namespace, as in a container."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
from descendants import command_of
from e2e.harness import NOTEBOOKS, PROGRAM, Server, Tab
from e2e.test_stopping import Log
from waiting import PATIENCE_S

DOCKER_WAITS_S = 10.0
"""How long `docker stop` gives a container to end, before it kills."""

ACTIONS = {
    "idle.py": "nothing",
    "busy.py": "spins",
    "stubborn.py": "is deaf",
    "slow.py": "receives",
}


def in_a_container() -> tuple[str, ...]:
    """The beginning of a command that runs as the first process of a pid namespace."""
    command = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        command = ("unshare", "--user", "--map-root-user", *command[1:])
    return command


def first_process_of(server: Server) -> psutil.Process:
    [first] = psutil.Process(server.pid).children()
    with open(f"/proc/{first.pid}/status") as file:
        ids = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
    assert ids == [str(first.pid), "1"]
    return first


async def stopped(first: psutil.Process) -> None:
    """End the server as `docker stop` does, but without a SIGKILL after some time."""
    first.terminate()
    await asyncio.to_thread(first.wait, PATIENCE_S)


async def test_it_ends_by_itself_before_docker_would_kill_it(tmp_path: Path) -> None:
    idle_s = await seconds_of_its_end(tmp_path / "idle", ["idle.py"])
    busy_s = await seconds_of_its_end(tmp_path / "busy", list(ACTIONS))
    # What an idle one takes depends on how busy the machine is; it is half a second on a quiet one.
    assert busy_s - idle_s < DOCKER_WAITS_S - 1.0


async def seconds_of_its_end(folder: Path, names: list[str]) -> float:
    """How long a server takes to end by itself whose notebooks are in the middle of `ACTIONS`."""
    folder.mkdir()
    log = Log(folder / "log")
    for name in names:
        shutil.copy(NOTEBOOKS / "stuck.py", folder / name)
    program = (*in_a_container(), *PROGRAM)
    env = {"STUCK_LOG": str(log.path)}
    async with (
        Server(folder, program=program, env=env, standby=True) as server,
        AsyncExitStack() as tabs,
    ):
        first = first_process_of(server)
        for name in names:
            tab = await tabs.enter_async_context(Tab(server.url, str(folder / name)))
            await tab.wait_until_run()
            if ACTIONS[name] != "nothing":
                await tab.set_ui("Action", [ACTIONS[name]])
                await log.wait_for("began")
        began_s = time.monotonic()
        await stopped(first)
        return time.monotonic() - began_s


async def test_processes_that_have_retired_leave_it_no_zombies() -> None:
    options = ("--session-ttl", "0", "--idle-retire-s", "0")
    program = (*in_a_container(), *PROGRAM)
    async with Server(NOTEBOOKS / "download.py", program=program, options=options) as server:
        first = first_process_of(server)
        for _ in range(2):
            async with Tab(server.url) as tab:
                await tab.wait_for("1048576 bytes")
                assert "@file/" in tab.html
                hosts = [one for one in first.children() if "spawn_main" in command_of(one)]
            _, alive = await asyncio.to_thread(psutil.wait_procs, hosts, 30)
            assert hosts
            assert not alive
            async with asyncio.timeout(PATIENCE_S):
                while first.children():
                    await asyncio.sleep(0.02)
        await stopped(first)


ORPHANS = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import subprocess

    import marimo as mo

    subprocess.run(["sh", "-c", "setsid sleep 1000 & true"])
    mo.md(f"in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
"""


async def test_no_orphan_stays_of_an_app_or_of_a_command_that_was_run_beside_it(
    tmp_path: Path,
) -> None:
    notebook = tmp_path / "orphans.py"
    notebook.write_text(ORPHANS)
    program = (*in_a_container(), *PROGRAM)
    async with Server(notebook, program=program) as server, Tab(server.url) as tab:
        await tab.wait_for("in process")
        first = first_process_of(server)
        [orphan] = [one for one in first.children(recursive=True) if one.name() == "sleep"]
        app = orphan.parent()
        assert app is not None
        assert app != first
        app.kill()
        beside = ("nsenter", "--target", str(first.pid), "--pid", "--mount")
        if "--user" in program:
            beside += ("--user", "--preserve-credentials")
        left = "(setsid sh -c 'sleep 0.1 & true'); sleep 0.2"
        subprocess.run([*beside, "setsid", "sh", "-c", left], check=True)
        before = tab.text
        await tab.wait_for(lambda tab: tab.text != before and "in process" in tab.text)
        async with asyncio.timeout(PATIENCE_S):
            while orphan.is_running() or zombies_of(first):
                await asyncio.sleep(0.02)
        await stopped(first)


def zombies_of(process: psutil.Process) -> list[psutil.Process]:
    """Its children that have ended and were not reaped."""
    return [one for one in process.children() if one.status() == psutil.STATUS_ZOMBIE]
