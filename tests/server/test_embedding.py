"""Programs that embed mpkernel: what they have set for their process, and what kinds of programs
they are."""

from __future__ import annotations

import asyncio
import multiprocessing.spawn
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from halves import host_of
from server.conftest import APPS, Open
from server.operators import user_directories
from waiting import until

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import HostStartError
from mpkernel.server.operations.finding import published_servers
from mpkernel.server.operations.orders import Restart, give_order
from shm.names import tag_of

APP = APPS / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")


class TestDefaultTimeout:
    @pytest.fixture(autouse=True)
    def _default_timeout(self) -> Iterator[None]:
        socket.setdefaulttimeout(30.0)
        yield
        socket.setdefaulttimeout(None)

    async def test_a_process_that_sends_more_than_its_pipe_takes_lives(
        self, open_kernel: Open
    ) -> None:
        session = await open_kernel("flood")
        got = 0
        async for _, payload in session:
            got += len(payload)
            if got > 20_000_000:
                break
        assert host_of(session).is_alive

    async def test_an_app_may_have_its_own(self, pool: HostPool) -> None:
        files = KernelSpec(entry="files:obey")
        session = await pool.open_session(APPS / "files.py", kernel=files)
        session.send(
            Channel.CONTROL,
            b"import socket; socket.setdefaulttimeout(0.001); from multiprocessing import Pipe;"
            b"[kernel.send(bytes(1_000_000)) for _ in range(20)];"
            b"ours, theirs = Pipe(); ours.send(1); result = theirs.recv()",
        )
        got = 0
        async for _, payload in session:
            if payload == b"1":
                break
            got += len(payload)
        assert got == 20_000_000

    async def test_an_operator_is_heard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with user_directories(monkeypatch):
            async with HostPool(Settings(snapshot=True, control=True)) as pool:
                session = await pool.open_session(APP, kernel=ECHO)
                await asyncio.to_thread(until, published_servers)
                order = Restart(str(APP))
                answer = await asyncio.to_thread(give_order, order, published_servers()[0].path)
                assert answer.done, answer.text
                await session.close()


DAEMONIC = """
import asyncio, multiprocessing, os, sys
from mpkernel import Channel, HostPool, KernelSpec, Settings

async def serve(answer):
    async with HostPool(Settings(standby=1)) as pool:
        await pool.standby.wait_ready()
        for name in ("facts", "use_multiprocessing"):
            session = await pool.open_session(
                sys.argv[1], kernel=KernelSpec(entry=f"kernels:{name}")
            )
            answer.send_bytes((await anext(session)).payload)
            await session.close()
        session = await pool.open_session(sys.argv[1], kernel=KernelSpec(entry="kernels:spin"))
        answer.send_bytes(str(pool.hosts[0].pid).encode())
        await anext(session)

def main(answer):
    asyncio.run(serve(answer))

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context(sys.argv[2])
    server = context.Process(target=main, args=(theirs,), daemon=True)
    server.start()
    for _ in range(3):
        print(ours.recv_bytes().decode(), flush=True)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_server_that_is_a_daemonic_process_has_apps_that_are_none(
    tmp_path: Path, method: str
) -> None:
    program = tmp_path / "server.py"
    program.write_text(DAEMONIC)
    ran = subprocess.run(
        [sys.executable, str(program), str(APP), method],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    facts, of_pools, pid = ran.stdout.splitlines()
    assert not msgspec.json.decode(facts)["daemon"]
    squares = [0, 1, 4, 9, 16]
    assert msgspec.json.decode(of_pools) == dict.fromkeys(("fork", "spawn", "executor"), squares)
    until(lambda: not Path(f"/proc/{pid}").exists())  # the program ended its daemonic process


class TestInterpreter:
    @pytest.fixture(autouse=True)
    def _as_it_was(self) -> Iterator[None]:
        before = multiprocessing.spawn.get_executable()
        yield
        multiprocessing.spawn.set_executable(before)

    @pytest.mark.parametrize(
        ("program", "says"),
        [
            (None, "sys.executable was None"),
            ("", "sys.executable was empty"),
            ("/nowhere/python", "/nowhere/python should be executed as Python"),
            (str(APP), f"{APP} should be executed as Python"),
            ("/bin/false", "left with exit code 1 before it was ready; it was launched as"),
        ],
    )
    async def test_what_is_no_python_is_named_with_its_remedy(
        self, open_kernel: Open, monkeypatch: pytest.MonkeyPatch, program: Any, says: str
    ) -> None:
        # Older versions of 3.11 have None from a `sys.executable` that is None, but cannot set it.
        monkeypatch.setattr(multiprocessing.spawn, "_python_exe", program)
        with pytest.raises(HostStartError, match=says) as caught:
            await open_kernel("echo")
        assert "multiprocessing.set_executable" in caught.value.remedy

    async def test_a_file_that_the_system_cannot_execute_is_named(
        self, open_kernel: Open, tmp_path: Path
    ) -> None:
        program = tmp_path / "python"
        program.write_bytes(b"\x00no program")
        program.chmod(0o700)
        multiprocessing.spawn.set_executable(str(program))
        with pytest.raises(HostStartError, match=f"{program} should be executed as Python"):
            await open_kernel("echo")

    async def test_a_program_that_never_says_a_word_is_named(self, tmp_path: Path) -> None:
        program = tmp_path / "quiet"
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(0o700)
        multiprocessing.spawn.set_executable(str(program))
        async with HostPool(Settings(start_timeout_s=0.5)) as pool:
            with pytest.raises(HostStartError, match=str(program)):
                await pool.open_session(APP, kernel=ECHO)

    async def test_the_program_that_embeds_this_python_is_not_run_once_more(
        self, open_kernel: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "uwsgi"
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
        program.chmod(0o700)
        python = sys.executable
        monkeypatch.setattr(sys, "orig_argv", [])
        monkeypatch.setattr(sys, "executable", str(program))
        multiprocessing.spawn.set_executable(str(program))
        with pytest.raises(HostStartError, match="in which this server's Python is embedded"):
            await open_kernel("echo")
        assert not (tmp_path / "executed").exists()
        multiprocessing.spawn.set_executable(python)
        session = await open_kernel("echo")
        session.send(Channel.CONTROL, b"fine")
        assert (await anext(session)).payload == b"fine"

    async def test_a_standby_that_is_no_python_is_named_and_costs_no_app_its_start(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        python = multiprocessing.spawn.get_executable()
        settings = Settings(standby=1, restart_limit=1)
        with caplog.at_level("INFO"):
            multiprocessing.spawn.set_executable("/bin/false")
            async with HostPool(settings) as pool:
                assert not await pool.standby.wait_ready()
                multiprocessing.spawn.set_executable(python)
                await pool.open_session(APP, kernel=ECHO)
        assert "before it was ready; it was launched as /bin/false" in caplog.text

    async def test_a_standby_of_another_python_is_not_given_to_an_app(self, tmp_path: Path) -> None:
        async with HostPool(Settings(standby=1)) as pool:
            await pool.standby.wait_ready()
            (standby,) = pool.standby.pids
            another = tmp_path / "python"
            another.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            another.chmod(0o700)
            multiprocessing.spawn.set_executable(str(another))
            session = await pool.open_session(APP, kernel=ECHO)
            assert session.pid != standby

    async def test_an_app_that_names_another_for_its_own_keeps_its_shared_memory(
        self, pool: HostPool
    ) -> None:
        files = KernelSpec(entry="files:obey")
        session = await pool.open_session(APPS / "files.py", kernel=files)
        session.send(
            Channel.CONTROL,
            b"import multiprocessing; multiprocessing.set_executable('/nowhere');"
            b"kernel.files.store('a file', bytes(100_000)); result = 'stored'",
        )
        assert (await anext(session)).payload == b"'stored'"
        prefix = tag_of(pool.hosts[0].pid).prefix
        assert any(name.startswith(prefix) for name in os.listdir("/dev/shm"))
