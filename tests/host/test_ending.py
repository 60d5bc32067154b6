"""A process that ends in order runs what Python runs at its end, for as long as it is allowed."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest
from kernel.conftest import Client

from mpkernel import HostPool, Settings
from mpkernel.kernel.messages import Console, Restarted
from mpkernel.server.apps.app import App

HELPERS = """
import atexit, concurrent.futures, io, logging, logging.handlers, pathlib, select, tempfile
import threading

here = pathlib.Path(__file__).parent

def say(what):
    (here / what).write_text("")
"""

ENDS = """
from helpers_of_end import *
import helpers_of_end

atexit.register(say, "atexit ran")
helpers_of_end.scratch = tempfile.TemporaryDirectory(dir=here, prefix="scratch-")
helpers_of_end.open_file = open(here / "buffered", "w")
helpers_of_end.open_file.write("flushed")
buffer = logging.handlers.MemoryHandler(100, target=logging.FileHandler(here / "log"))
logging.getLogger("of the app").addHandler(buffer)
logging.getLogger("of the app").warning("logged")

def work():
    while not (here / "thread done").exists():
        try:  # the session's end may interrupt it
            while threading.main_thread().is_alive():
                select.select([], [], [], 0.01)
            say("thread done")
        except BaseException:
            continue

threading.Thread(target=work, daemon=False).start()
"""

End: TypeAlias = Callable[[HostPool, Client], Awaitable[object]]


async def close(pool: HostPool, client: Client) -> None:
    await pool.close()


async def drain_server(pool: HostPool, client: Client) -> None:
    await pool.drain()


async def drain_app(pool: HostPool, client: Client) -> None:
    [host] = pool.hosts
    app_of(pool).replace()
    await client.close()
    await host.wait_over()


async def retire(pool: HostPool, client: Client) -> None:
    [host] = pool.hosts
    await client.close()
    await host.wait_over()


async def restart(pool: HostPool, client: Client) -> None:
    [host] = pool.hosts
    app_of(pool).restart()
    await host.wait_over()


def app_of(pool: HostPool) -> App:
    [app] = pool.apps
    return app


async def run(pool: HostPool, folder: Path, code: str) -> Client:
    """A session whose one cell has run, to its last line or to where it prints."""
    (folder / "helpers_of_end.py").write_text(HELPERS)
    app = folder / "app.py"
    app.write_text("# %%\nfrom helpers_of_end import *\nprint('ran', flush=True)\n")
    client = await Client.open(pool, app)
    client.execute(textwrap.dedent(code) + "\nprint('ran', flush=True)", cell="cell")
    await client.wait_for(Console, text="ran\n")
    return client


@pytest.mark.parametrize("end", [close, drain_server, drain_app, retire, restart])
async def test_what_python_does_at_its_end_is_done(tmp_path: Path, end: End) -> None:
    async with HostPool(Settings(idle_retire_s=0, stop_grace_s=30)) as pool:
        client = await run(pool, tmp_path, ENDS)
        await end(pool, client)
        assert (tmp_path / "atexit ran").exists()
        assert (tmp_path / "thread done").exists()
        assert (tmp_path / "buffered").read_text() == "flushed"
        assert (tmp_path / "log").read_text() == "logged\n"
        assert not list(tmp_path.glob("scratch-*"))


async def test_a_cell_that_runs_is_interrupted_and_cleans_up(tmp_path: Path) -> None:
    async with HostPool(Settings(stop_grace_s=30)) as pool:
        code = """
        import time
        try:
            print('ran', flush=True)
            time.sleep(600)
        finally:
            say('cleaned up')
        """
        await run(pool, tmp_path, "from helpers_of_end import *\n" + textwrap.dedent(code))
        await pool.close()
    assert (tmp_path / "cleaned up").exists()


async def test_a_thread_that_does_not_end_keeps_nothing_else_from_being_done(
    tmp_path: Path,
) -> None:
    async with HostPool(Settings(stop_grace_s=3)) as pool:
        code = """
        from helpers_of_end import *
        import helpers_of_end
        concurrent.futures.ThreadPoolExecutor().submit(threading.Event().wait)
        helpers_of_end.open_file = open(here / "buffered", "w")
        helpers_of_end.open_file.write("flushed")
        class Broken(io.TextIOWrapper):
            def flush(self):
                say("flush was called")
                raise RuntimeError("this file is never flushed")
        helpers_of_end.broken = Broken(io.BytesIO())
        atexit.register(say, "atexit ran")
        """
        await run(pool, tmp_path, code)
        await pool.close()
    assert (tmp_path / "atexit ran").exists()
    assert (tmp_path / "flush was called").exists()
    assert (tmp_path / "buffered").read_text() == "flushed"


async def test_what_hangs_at_the_end_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    async with HostPool(Settings(stop_grace_s=1)) as pool:
        code = """
        from helpers_of_end import *
        atexit.register(threading.Event().wait)
        atexit.register(say, "atexit ran")
        """
        await run(pool, tmp_path, code)
        began = time.monotonic()
        await pool.close()
        assert time.monotonic() - began < 10
    assert (tmp_path / "atexit ran").exists()


async def test_a_crash_at_the_end_is_no_death(tmp_path: Path) -> None:
    async with HostPool(Settings(idle_retire_s=0, stop_grace_s=30)) as pool:
        code = """
        from helpers_of_end import *
        import ctypes
        atexit.register(ctypes.string_at, 0)
        """
        client = await run(pool, tmp_path, code)
        await retire(pool, client)
        assert app_of(pool).death_count == 0


async def test_a_restarted_apps_sessions_come_back_though_its_end_hangs(tmp_path: Path) -> None:
    async with HostPool(Settings(stop_grace_s=0.5)) as pool:
        code = "from helpers_of_end import *\natexit.register(threading.Event().wait)"
        client = await run(pool, tmp_path, code)
        [host] = pool.hosts
        client.run_app()
        await client.wait_for(Console, text="ran\n")
        app_of(pool).restart()
        await client.wait_for(Restarted)
        await client.wait_for(Console, text="ran\n")
        assert not psutil.pid_exists(host.pid)
        await client.close()
