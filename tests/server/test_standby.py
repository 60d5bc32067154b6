"""Standby processes: which app adopts one, how an adopted process behaves, and how an unused one
ends."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from kernel.conftest import Client
from server.conftest import APPS, pipes_and_threads
from waiting import PATIENCE_S

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings
from mpkernel.errors import HostDied
from mpkernel.kernel.messages import Restarted
from mpkernel.server.launching import standby
from mpkernel.server.supervision.strays import MARK

LIBRARIES = Path(__file__).parent / "libraries"
OBSERVED = APPS / "observed.py"
PLAIN = ("mpk_plain", "sqlite3")


@pytest.fixture(autouse=True)
def _libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIBRARIES))


@asynccontextmanager
async def standing_by(**settings: Any) -> AsyncIterator[HostPool]:
    """A pool with a standby. Not a fixture: pytest changes the environment between a fixture and
    its test."""
    before = pipes_and_threads()
    given = {"standby": 1, "standby_imports": PLAIN, "restart_backoff_s": 0.01, **settings}
    async with HostPool(Settings(**given)) as pool:
        yield pool
    assert not pipes_and_threads() - before, "descriptors or threads left behind"


async def ready(pool: HostPool) -> int:
    """The pid of the process that the next app shall adopt."""
    async with asyncio.timeout(PATIENCE_S):
        assert await pool.standby.wait_ready()
    [pid] = pool.standby.pids
    return pid


async def opened(
    pool: HostPool, app: Path = OBSERVED, name: str = "observe", **spec: Any
) -> Session:
    return await pool.open_session(app, kernel=KernelSpec(entry=f"{app.stem}:{name}", **spec))


async def observed(session: Session) -> Any:
    return msgspec.json.decode((await anext(session)).payload)


def copies(folder: Path, count: int) -> Iterable[Path]:
    """Apps, each in a folder of its own."""
    for number in range(count):
        (folder / str(number)).mkdir()
        yield Path(shutil.copy(OBSERVED, folder / str(number)))


class TestAdoption:
    async def test_an_app_that_starts_adopts_it_and_another_follows(self, tmp_path: Path) -> None:
        async with standing_by() as pool:
            for app in copies(tmp_path, 3):
                pid = await ready(pool)
                assert (await opened(pool, app)).pid == pid

    async def test_an_app_that_restarts_adopts_it(self) -> None:
        async with standing_by() as pool:
            session = await opened(pool)
            pid = await ready(pool)
            os.kill(session.pid, signal.SIGKILL)
            with pytest.raises(HostDied):
                async for _ in session:
                    pass
            assert (await opened(pool)).pid == pid

    async def test_the_next_one_does_not_compute_while_sessions_come_back(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(standby, "_REFILL_AFTER_DEATH_DELAY_S", 3600.0)
        (tmp_path / "app.py").touch()
        async with standing_by() as pool:
            client = await Client.open(pool, tmp_path / "app.py")
            pid = await ready(pool)  # the one after an app's first process follows soon
            os.kill(client.session.pid, signal.SIGKILL)
            await client.wait_for(Restarted)
            assert client.session.pid == pid
            launch = pool.standby._of_server._timer
            assert launch.when() - asyncio.get_running_loop().time() > 600

    async def test_it_has_the_embedded_kernel_by_default(self) -> None:
        async with HostPool(Settings(standby=1)) as pool:
            pid = await ready(pool)
            session = await opened(pool)
            assert session.pid == pid
            assert "mpkernel.kernel.main" in (await observed(session))["modules"]

    async def test_an_app_with_an_environment_of_its_own_never_does(self) -> None:
        async with standing_by() as pool:
            pid = await ready(pool)
            session = await opened(pool, env=dict(os.environ))
            assert session.pid != pid
            assert pool.standby.pids == [pid]

    async def test_one_that_still_warms_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MPK_BEGUN", str(tmp_path / "begun"))
        async with standing_by(standby_imports=("mpk_hangs",)) as pool:
            assert (await observed(await opened(pool)))["facts"]["argv"] == [str(OBSERVED)]

    async def test_a_pool_has_none_unless_it_is_asked_to(self) -> None:
        before = set(psutil.Process().children())
        async with HostPool() as pool:
            await opened(pool)
            assert not await pool.standby.wait_ready()
            [child] = set(psutil.Process().children()) - before
            assert child.pid == pool.hosts[0].pid

    async def test_several_wait_when_several_shall(self, tmp_path: Path) -> None:
        async with standing_by(standby=2) as pool:
            assert await pool.standby.wait_ready()
            pids = pool.standby.pids
            assert len(pids) == 2
            sessions = [await opened(pool, app) for app in copies(tmp_path, 2)]
            assert [session.pid for session in sessions] == pids


def unmarked(fact: object) -> object:
    """A fact without the mark of its process, which each has for itself."""
    return re.sub(f"{MARK}\\W+[a-z0-9-]+", "", repr(fact))


class TestLikeness:
    async def test_an_adopted_host_is_as_one_that_was_started_for_its_app(self) -> None:
        async with standing_by() as pool:
            spec = {"argv": ("--colour", "blue"), "args": b"mine"}
            async with HostPool() as cold_pool:
                cold = await observed(await opened(cold_pool, **spec))
            pid = await ready(pool)
            session = await opened(pool, **spec)
            assert session.pid == pid
            adopted = await observed(session)
            for name, fact in cold["facts"].items():
                assert unmarked(adopted["facts"][name]) == unmarked(fact), name
            assert set(cold["modules"]) <= set(adopted["modules"])
            extra = {
                name.partition(".")[0] for name in set(adopted["modules"]) - set(cold["modules"])
            }
            assert {"mpk_plain", "mpk_needed", "sqlite3"} <= extra
            assert not {name for name in extra if (APPS / f"{name}.py").exists()}

    async def test_two_of_them_share_no_random_numbers(self, tmp_path: Path) -> None:
        async with standing_by() as pool:
            drawn = []
            for app in copies(tmp_path, 2):
                await ready(pool)
                drawn.append((await anext(await opened(pool, app, "draw"))).payload)
            assert drawn[0] != drawn[1]

    @pytest.mark.parametrize("file", ["mpk_needed.py", "sqlite3/__init__.py"])
    async def test_a_module_in_the_apps_folder_comes_before_a_library_as_ever(
        self, tmp_path: Path, file: str
    ) -> None:
        async with standing_by() as pool:
            shadowing, other = copies(tmp_path, 2)
            own = shadowing.parent / file
            own.parent.mkdir(exist_ok=True)
            own.write_text("")
            pid = await ready(pool)
            session = await opened(pool, shadowing, "import_one")
            session.send(Channel.CONTROL, file.partition("/")[0].removesuffix(".py").encode())
            assert (await anext(session)).payload == bytes(own)
            assert (await opened(pool, other)).pid == pid

    async def test_so_does_one_in_a_folder_that_the_app_puts_before_the_libraries(
        self, tmp_path: Path
    ) -> None:
        async with standing_by() as pool:
            [app] = copies(tmp_path, 1)
            (tmp_path / "vendored").mkdir()
            (tmp_path / "vendored" / "mpk_needed.py").write_text("")
            pool.app(app, KernelSpec(entry="observed:observe")).import_folders = (
                str(tmp_path / "vendored"),
            )
            pid = await ready(pool)
            assert (await opened(pool, app)).pid != pid

    async def test_a_mere_folder_named_like_a_library_is_no_module(self, tmp_path: Path) -> None:
        async with standing_by() as pool:
            [app] = copies(tmp_path, 1)
            (app.parent / "sqlite3").mkdir()
            pid = await ready(pool)
            assert (await opened(pool, app)).pid == pid

    @pytest.mark.parametrize("change", ["environment", "directory", "import path"])
    async def test_what_changed_in_the_server_since_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        async with standing_by() as pool:
            pid = await ready(pool)
            match change:
                case "environment":
                    monkeypatch.setenv("MPK_CHANGED", "yes")
                case "directory":
                    monkeypatch.chdir(tmp_path)
                case _:
                    monkeypatch.syspath_prepend(str(tmp_path))
            sessions = []
            for app in copies(tmp_path, 2):
                sessions.append(await opened(pool, app))
                facts = (await observed(sessions[-1]))["facts"]
                assert facts["environment"].get("MPK_CHANGED") == os.environ.get("MPK_CHANGED")
                assert facts["directory"] == os.getcwd()
                assert facts["import path"] == [str(app.parent), *sys.path]
                following = await ready(pool)
            assert pid not in {following, *(session.pid for session in sessions)}


class TestPriority:
    async def test_it_imports_at_low_priority_and_the_app_runs_at_its_own(
        self, tmp_path: Path
    ) -> None:
        async with standing_by() as pool:
            app = tmp_path / "app.py"
            app.write_text(
                "import mpk_plain, os, threading\n"
                "def main(kernel):\n"
                "    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())\n"
                "    kernel.send(f'{mpk_plain.PRIORITY} {mine}'.encode())\n"
            )
            await ready(pool)
            session = await opened(pool, app, "main")
            own = os.getpriority(os.PRIO_PROCESS, 0)
            assert (await anext(session)).payload == f"10 {own}".encode()

    async def test_a_librarys_threads_are_as_fast_as_ever(self) -> None:
        async with standing_by(standby_imports=("mpk_threads",)) as pool:
            pid = await ready(pool)
            session = await opened(pool)
            assert session.pid == pid
            facts = (await observed(session))["facts"]
            assert "of a library" in facts["threads"]
            assert facts["priorities"] == [os.getpriority(os.PRIO_PROCESS, 0)]


class TestEnd:
    async def test_one_that_is_killed_is_replaced(self) -> None:
        async with standing_by() as pool:
            pid = await ready(pool)
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_S):
                while pool.standby.pids == [pid]:
                    await asyncio.sleep(0)
            following = await ready(pool)
            assert following != pid
            assert (await opened(pool)).pid == following

    async def test_an_import_that_fails_leaves_the_rest(self) -> None:
        async with standing_by(standby_imports=("mpk_missing", "mpk_plain")) as pool:
            pid = await ready(pool)
            session = await opened(pool)
            assert session.pid == pid
            assert "mpk_plain" in (await observed(session))["modules"]

    async def test_an_import_that_crashes_is_given_up_with_one_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = {"standby_imports": ("mpk_dies",), "restart_limit": 2}
        with caplog.at_level(logging.INFO, "mpkernel"):
            async with standing_by(**settings) as pool, asyncio.timeout(PATIENCE_S):
                assert not await pool.standby.wait_ready()
                assert (await observed(await opened(pool)))["modules"]
        deaths = [record for record in caplog.records if "SIGABRT" in record.getMessage()]
        assert [record.levelname for record in deaths] == ["INFO", "INFO", "WARNING"]
        for told in ("no such processor", "mpk_dies.py"):
            assert told in deaths[-1].getMessage()

    async def test_an_import_may_write_more_than_a_pipe_holds(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "mpkernel"):
            async with standing_by(standby_imports=("mpk_chatty", "mpk_plain")) as pool:
                pid = await ready(pool)
                assert (await opened(pool)).pid == pid
        assert "the last line" in caplog.text
        assert len(caplog.text) < 64 * 1024

    async def test_an_import_that_hangs_is_ended_as_one_that_crashes(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MPK_BEGUN", str(tmp_path / "begun"))
        settings = {"standby_imports": ("mpk_chatty", "mpk_hangs"), "restart_limit": 1}
        with caplog.at_level(logging.WARNING, "mpkernel"):
            async with (
                standing_by(start_timeout_s=3, **settings) as pool,
                asyncio.timeout(PATIENCE_S),
            ):
                assert not await pool.standby.wait_ready()
        ended = [one for one in caplog.messages if one.startswith("standby ended")]
        assert len(ended) == 2
        for line in ended:
            assert "start_timeout_s=3" in line
            assert "the last line" in line
        assert "apps start without a standby from now on" in caplog.text

    @pytest.mark.parametrize("imports", [PLAIN, ("mpk_hangs",)], ids=["ready", "importing"])
    @pytest.mark.parametrize("ending", ["close", "drain", "close_soon", "kill"])
    async def test_it_ends_with_its_pool(
        self,
        imports: tuple[str, ...],
        ending: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begun = tmp_path / "begun"
        monkeypatch.setenv("MPK_BEGUN", str(begun))
        pool = HostPool(Settings(standby=1, standby_imports=imports))
        pool.standby.start()
        process = psutil.Process(await (ready(pool) if imports is PLAIN else written(begun)))
        ended = getattr(pool, ending)()
        if ended is not None:
            await ended
        elif ending == "close_soon":
            await pool.close()
        assert not process.is_running()


async def written(path: Path) -> int:
    """The number in the file, as soon as there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and path.read_text()):
            await asyncio.sleep(0.01)
    return int(path.read_text())


SERVER = """
import asyncio, os, sys
from mpkernel import HostPool, Settings

async def main():
    pool = HostPool(Settings(standby=1, standby_imports=sys.argv[1:]))
    pool.standby.start()
    if "mpk_hangs" not in sys.argv:
        await pool.standby.wait_ready()
        print(pool.standby.pids[0], flush=True)
    leave = asyncio.to_thread(sys.stdin.readline)
    await (leave if os.environ.get("LEAVE") else asyncio.sleep(600))

asyncio.run(main())
"""


@pytest.mark.parametrize("imports", [PLAIN, ("mpk_hangs",)], ids=["ready", "importing"])
@pytest.mark.parametrize("ending", ["kill", "exit"])
async def test_it_does_not_outlive_its_server(
    imports: tuple[str, ...], ending: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    env: Mapping[str, str] = {
        **os.environ,
        "MPK_BEGUN": str(begun),
        "PYTHONPATH": os.pathsep.join([str(LIBRARIES), *filter(None, sys.path)]),
        **({"LEAVE": "1"} if ending == "exit" else {}),
    }
    command = [sys.executable, "-c", SERVER, *imports]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            pid = int(server.stdout.readline()) if imports is PLAIN else await written(begun)
            process = psutil.Process(pid)
            if ending == "exit":
                server.stdin.write("leave\n")
                server.stdin.flush()
            else:
                server.kill()
            server.wait(PATIENCE_S)
            began = time.monotonic()
            _, alive = psutil.wait_procs([process], timeout=5)
            assert not alive, f"still there after {time.monotonic() - began:.1f} s"
        finally:
            server.kill()
