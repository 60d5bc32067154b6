"""What user code finds in an app host, and what happens to what it does there."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from server.conftest import APPS, Open
from waiting import PATIENCE_S

from mpkernel import Channel, Session
from mpkernel.errors import HostDied, KernelFailed

SERVER_ONLY = "a name of the server's own main module"


async def decoded(session: Session) -> Any:
    return msgspec.json.decode((await anext(session)).payload)


async def test_a_host_looks_like_a_fresh_interpreter(open_kernel: Open) -> None:
    session = await open_kernel("facts", argv=("--colour", "blue"), args=b"mine")
    facts = await decoded(session)
    app = str(APPS / "kernels.py")
    assert facts["app"] == app
    assert facts["args"] == "mine"
    assert facts["session_id"] == session.session_id
    assert facts["argv"] == [app, "--colour", "blue"]
    assert facts["path0"] == str(APPS)
    assert facts["cwd"] == os.getcwd()
    assert facts["start_method"] is None
    assert facts["is_main_process"]
    assert facts["process_name"] == "MainProcess"
    assert not facts["daemon"]
    assert facts["authkey"] != bytes(multiprocessing.current_process().authkey).hex()
    assert facts["main_file"] is None
    assert not facts["main_of_server"]


async def test_a_host_leads_a_session_and_a_group_of_its_own(open_kernel: Open) -> None:
    facts = await decoded(await open_kernel("facts"))
    assert facts["pid"] == facts["group"] == facts["sid"] != os.getsid(0)


async def test_an_environment_of_its_own_is_the_only_one_there(open_kernel: Open) -> None:
    os.environ["A_SECRET_OF_THE_SERVER"] = "hidden"
    try:
        session = await open_kernel("facts", env={"PATH": os.environ["PATH"], "MINE": "yes"})
    finally:
        del os.environ["A_SECRET_OF_THE_SERVER"]
    facts = await decoded(session)
    assert facts["env"]["MINE"] == "yes"
    assert "A_SECRET_OF_THE_SERVER" not in facts["env"]
    assert "A_SECRET_OF_THE_SERVER" not in facts["proc_env"]


async def test_a_host_has_no_descriptor_of_another_and_passes_none_on(
    open_kernel: Open, tmp_path: Path
) -> None:
    pipes = []
    for number in range(2):
        app = tmp_path / str(number) / "kernels.py"
        app.parent.mkdir()
        app.write_text((APPS / "kernels.py").read_text())
        facts = await decoded(await open_kernel("facts", app=app))
        assert set(facts["inheritable"]) <= {0, 1, 2}
        pipes.append(
            {target for target in facts["fds"].values() if target.startswith(("pipe", "socket"))}
        )
    assert pipes[0]
    assert not pipes[0] & pipes[1]


async def test_a_fresh_host_has_imported_only_what_it_needs(open_kernel: Open) -> None:
    modules = set((await decoded(await open_kernel("facts")))["modules"])
    assert "mpkernel.host.main" in modules
    for unwanted in (
        "asyncio",
        "psutil",
        "uvloop",
        "zmq",
        "marimo",
        "mpkernel.server",
        "mpkernel.aio",
        "mpkernel.settings",
        "logging",
        "shm.storage",
        "tempfile",
        "typing_extensions",
    ):
        assert unwanted not in modules, unwanted


async def test_no_process_listens_on_a_network_socket(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    for pid in (os.getpid(), session.pid):
        assert psutil.Process(pid).net_connections("inet") == []


async def test_the_servers_own_use_of_multiprocessing_goes_on(open_kernel: Open) -> None:
    before = multiprocessing.active_children()
    await open_kernel("echo")
    assert set(multiprocessing.active_children()) <= set(before)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(os.getppid) == os.getpid()


async def test_ctrl_c_does_in_a_subprocess_what_it_always_does(open_kernel: Open) -> None:
    session = await open_kernel("subprocess_sigint")
    assert int((await anext(session)).payload) == -signal.SIGINT


async def test_a_sigint_leaves_a_host_running(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    os.kill(session.pid, signal.SIGINT)
    session.send(Channel.CONTROL, b"fine")
    assert (await anext(session)).payload == b"fine"


@pytest.mark.parametrize(
    ("kernel", "answer"),
    [
        ("change_directory", b"/"),
        ("set_start_method", b"spawn"),
        ("handle_signals", b"signal only works in main thread of the main interpreter"),
    ],
)
async def test_what_user_code_does_to_its_process_stays_there(
    open_kernel: Open, kernel: str, answer: bytes
) -> None:
    directory, method = os.getcwd(), multiprocessing.get_start_method(allow_none=True)
    session, neighbour = await open_kernel(kernel), await open_kernel("echo")
    assert (await anext(session)).payload == answer
    neighbour.send(Channel.CONTROL, b"fine")
    assert (await anext(neighbour)).payload == b"fine"
    assert (os.getcwd(), multiprocessing.get_start_method(allow_none=True)) == (directory, method)


async def test_a_kernel_that_fills_memory_fails_alone(open_kernel: Open) -> None:
    neighbour = await open_kernel("echo")
    session = await open_kernel("fill_memory")
    with pytest.raises(KernelFailed, match="MemoryError"):
        await anext(session)
    neighbour.send(Channel.CONTROL, b"fine")
    assert (await anext(neighbour)).payload == b"fine"


async def test_forked_children_end_and_are_not_heard(open_kernel: Open) -> None:
    session = await open_kernel("fork_and_print")
    async for message in session:
        if message.payload.startswith(b"codes"):
            assert message.payload == b"codes " + repr([11] * 20).encode()
            break
        assert message.payload == b"chatter"


async def test_pools_by_fork_and_spawn_and_an_executor_work(open_kernel: Open) -> None:
    answers = await decoded(await open_kernel("use_multiprocessing"))
    assert answers == dict.fromkeys(("fork", "spawn", "executor"), [0, 1, 4, 9, 16])


async def test_the_collector_may_write_in_the_middle_of_a_write(open_kernel: Open) -> None:
    session = await open_kernel("collect_while_writing")
    heard: Counter[bytes] = Counter()
    async for message in session:
        heard[message.payload] += 1
        if message.payload == b"done":
            break
    assert heard[b"written"] == 3000
    assert heard[b"collected"] == 3000


async def test_shared_memory_that_user_code_leaked_goes_with_a_killed_host(
    open_kernel: Open,
) -> None:
    session = await open_kernel("leak_shared_memory")
    block = Path("/dev/shm", (await anext(session)).payload.decode())
    assert block.exists()
    os.kill(session.pid, signal.SIGKILL)
    with pytest.raises(HostDied):
        await anext(session)
    async with asyncio.timeout(PATIENCE_S):
        while block.exists():
            await asyncio.sleep(0.01)


async def test_a_host_whose_death_somebody_else_reaped_is_still_noticed(open_kernel: Open) -> None:
    session = await open_kernel("echo")
    pid = session.pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(HostDied, match="could not be seen|SIGKILL"):
        await anext(session)


SERVER = """
import asyncio, os, sys
from mpkernel import HostPool, KernelSpec

async def main():
    pool = HostPool()
    for number, name in enumerate(sys.argv[2:]):
        session = await pool.open_session(sys.argv[1], kernel=KernelSpec(entry="kernels:" + name))
        first = await anext(session)
        print("kernel", session.pid, first.payload.decode(), flush=True)
    if os.environ.get("FORK") and os.fork() == 0:
        import time
        time.sleep(30)
        os._exit(0)
    print("ready", flush=True)
    if os.environ.get("LEAVE"):
        sys.stdin.readline()
        sys.exit(0)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", ["kill", "exit", "kill with a fork that holds the Pipes"])
@pytest.mark.parametrize("kernel", ["pid", "spin", "spin_in_c"])
def test_no_host_outlives_its_server(tmp_path: Path, ending: str, kernel: str) -> None:
    env = {**os.environ}
    if ending == "exit":
        env["LEAVE"] = "1"
    if "fork" in ending:
        env["FORK"] = "1"
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    server = subprocess.Popen(
        [sys.executable, script, APPS / "kernels.py", kernel],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        text=True,
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        host = psutil.Process(int(line.split()[1]))
        assert server.stdout.readline() == "ready\n"
        if ending == "exit":
            server.stdin.write("leave\n")
            server.stdin.flush()
        else:
            server.kill()
        server.wait(PATIENCE_S)
        _, alive = psutil.wait_procs([host], timeout=5)
        assert not alive
    finally:
        os.killpg(server.pid, signal.SIGKILL) if "fork" in ending else server.kill()
        server.wait()
        server.stdin.close()
        server.stdout.close()
