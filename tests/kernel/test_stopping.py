"""Closing sessions whose code does not end by itself."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from kernel.conftest import Client, OpenApp, until_ended
from waiting import PATIENCE_S

from mpkernel import HostPool, Settings
from mpkernel.kernel.messages import Console, Done

ENDED_BY_AN_INTERRUPT = {
    "spins": "while True: pass",
    "sleeps": "import time; time.sleep(600)",
    "waits for an event": "import threading; threading.Event().wait()",
    "prints": "while True: print('x' * 1000)",
    "logs": """\
        import logging
        logging.basicConfig(stream=open("/dev/null", "w"))
        while True: logging.warning("again")
    """,
    "awaits": "import asyncio; await asyncio.sleep(600)",
    "spins in a coroutine": "import asyncio; await asyncio.sleep(0)\nwhile True: pass",
    "swallows the first": """\
        try:
            while True: pass
        except BaseException:
            pass
        while True: pass
    """,
}

WAITS_IN_C = {
    "a lock": ("import threading; sys.wake = threading.Lock()", "sys.wake", "release()"),
    "a socket": (
        "import socket; sys.wake, mine = socket.socketpair()",
        "sys.wake",
        "send(b'x')",
    ),
    "a C function": (
        "import os, ctypes; mine, sys.wake = os.pipe()",
        "open(sys.wake, 'wb', buffering=0)",
        "write(b'x')",
    ),
    "a database": (
        """\
        import sqlite3
        sys.wake = sqlite3.connect(PATH, check_same_thread=False, isolation_level=None)
        sys.wake.execute("BEGIN EXCLUSIVE")
        mine = sqlite3.connect(PATH, timeout=600)
        """,
        "sys.wake",
        "rollback()",
    ),
}
"""What is made, what wakes it, and how; what waits for it is below."""

WAIT = {
    "a lock": "sys.wake.acquire(); sys.wake.acquire()",
    "a socket": "mine.recv(1)",
    "a C function": "ctypes.CDLL(None).read(mine, ctypes.create_string_buffer(1), 1)",
    "a database": "mine.execute('CREATE TABLE t (a)')",
}

DEAF = """\
while True:
    try:
        turns = 0
        while True: turns += 1  # not as the first statement: it would count as outside
    except BaseException:
        pass
"""


@pytest.fixture
def settings() -> Settings:
    return Settings(interrupt_grace_s=0.5, stop_grace_s=6.0, max_abandoned=2)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[HostPool]:
    async with HostPool(settings) as pool:
        yield pool


async def begun(client: Client, code: str, *, after: str = "") -> None:
    """Have code run, after other code, and wait until it does."""
    before = f"{textwrap.dedent(after)}\nprint('begun', flush=True)\n"
    client.execute(before + textwrap.dedent(code), cell="cell")
    await client.wait_for(Console)


async def waiting(client: Client, wait: str, other: Client, *, after: str) -> None:
    """Have code run that comes to a wait, after other code; return when it waits.

    Args:
        client: runs it.
        wait: what waits, and what runs when it wakes.
        other: another client of the same process, which does nothing.
        after: what runs before.
    """
    await begun(client, wait, after=after)
    await until_idle(await pid_of(other))


async def pid_of(client: Client) -> int:
    return int(await client.text("import os; print(os.getpid())"))


async def threads_of(client: Client) -> set[str]:
    """Threads of sessions in the client's process."""
    return set(
        (
            await client.text(
                "import threading\n"
                "for thread in threading.enumerate():\n"
                "    if thread.name.startswith('session'): print(thread.name)"
            )
        ).split()
    )


async def until_idle(pid: int) -> None:
    """Wait until a process takes less than a twentieth of a CPU."""
    process = psutil.Process(pid)
    while await asyncio.to_thread(process.cpu_percent, 0.5) >= 5:
        pass


@pytest.mark.parametrize("code", ENDED_BY_AN_INTERRUPT.values(), ids=ENDED_BY_AN_INTERRUPT)
async def test_closing_a_session_ends_code_that(open_app: OpenApp, code: str) -> None:
    client, other = await open_app(), await open_app()
    await begun(client, code)
    await client.close()
    async with asyncio.timeout(PATIENCE_S):
        await until_ended(other)
        pid = await pid_of(other)
        await until_idle(pid)
    assert await pid_of(await open_app()) == pid


async def test_the_code_of_other_sessions_goes_on(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    await begun(client, "while True: pass")
    other.execute(
        """\
import threading
for thread in threading.enumerate():
    if thread.name == 'session-1': watched = thread
print('begun', flush=True)
turns = 0
while watched.is_alive(): turns += 1
print(turns > 0)
""",
        cell="other",
    )
    await other.wait_for(Console, text="begun\n")
    await client.close()
    await other.wait_for(Console, text="True\n")
    assert (await other.wait_for(Done)).outcome == "ok"


async def test_a_deaf_session_sends_new_ones_elsewhere(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    old = psutil.Process(await pid_of(other))
    await begun(client, DEAF)
    await client.close()
    new = await open_app()
    assert await pid_of(new) != old.pid
    assert await other.text("print('still here')") == "still here\n"
    await other.close()
    await asyncio.to_thread(old.wait, 30)
    assert await new.text("print('here')") == "here\n"


async def test_a_deaf_session_alone_ends_with_its_process(client: Client) -> None:
    process = psutil.Process(await pid_of(client))
    await begun(client, DEAF)
    await client.close()
    await asyncio.to_thread(process.wait, 30)


@pytest.mark.parametrize("what", WAITS_IN_C)
async def test_a_session_is_left_to_its_wait_for(
    open_app: OpenApp, what: str, tmp_path: Path
) -> None:
    make, waker, wake = WAITS_IN_C[what]
    client, other = await open_app(), await open_app()
    path = f"PATH = {str(tmp_path / 'database')!r}\n"
    made = "import sys\n" + path + textwrap.dedent(make)
    await waiting(client, f"{WAIT[what]}\nwhile True: pass", other, after=made)
    await client.close()
    assert "session-1" in await threads_of(other)
    pid = await pid_of(other)
    await until_idle(pid)
    assert await pid_of(await open_app()) == pid
    await other.text(f"import sys; {waker}.{wake}")
    await until_ended(other)


async def test_a_lock_that_others_want_is_not_left_held(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    made = "import sys, threading\nsys.lock = threading.Condition(threading.Lock())\n"
    wait = "with sys.lock: print('inside')\nwhile True: pass"
    await waiting(client, wait, other, after=f"{made}sys.lock.acquire()")
    await client.close()
    await other.text("import sys; sys.lock.release()")
    await other.text("with sys.lock: pass")
    await until_ended(other)


async def test_too_many_that_wait_send_new_sessions_elsewhere(
    open_app: OpenApp, settings: Settings
) -> None:
    other = await open_app()
    old = await pid_of(other)
    for _ in range(settings.max_abandoned + 1):
        client = await open_app()
        assert await pid_of(client) == old
        made = "import threading\nlock = threading.Lock()\nlock.acquire()"
        await waiting(client, "while True: lock.acquire()", other, after=made)
        await client.close()
    assert await pid_of(await open_app()) != old
    assert await pid_of(other) == old


async def test_one_that_spins_when_it_wakes_is_found_out(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    old = psutil.Process(await pid_of(other))
    made = "import sys, threading\nsys.wake = threading.Lock()\nsys.wake.acquire()\n"
    acquire = "try: sys.wake.acquire()\nexcept BaseException: pass\n"
    await waiting(client, acquire + DEAF, other, after=made)
    await client.close()
    await other.text("import sys; sys.wake.release()")
    async with asyncio.timeout(PATIENCE_S):
        while await pid_of(newest := await open_app()) == old.pid:
            await newest.close()
    await other.close()
    await asyncio.to_thread(old.wait, 30)


async def test_code_on_its_way_out_is_not_interrupted_again(
    open_app: OpenApp, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    client, other = await open_app(), await open_app()
    await begun(
        client,
        f"""\
        import contextlib, time
        def clean(name):
            until = time.thread_time() + 0.02
            while time.thread_time() < until: pass
            time.sleep(0.06)
            with open({str(log)!r}, "a") as file: file.write(name + " ")
        @contextlib.contextmanager
        def managed():
            try: yield
            finally: clean("generator")
        class Managed:
            def __enter__(self): pass
            def __exit__(self, *_): clean("exit")
        try:
            with managed(), Managed():
                while True: pass
        finally:
            clean("finally")
        """,
    )
    await client.close()
    await until_ended(other)
    assert log.read_text().split() == ["exit", "generator", "finally"]


async def test_a_session_stopped_with_patience_comes_to_the_end_of_its_command(
    open_app: OpenApp, tmp_path: Path
) -> None:
    client, other = await open_app(), await open_app()
    go_on = str(tmp_path / "go_on")
    await begun(
        client,
        f"import os, time\nwhile not os.path.exists({go_on!r}): time.sleep(0.01)\nprint('end')",
    )
    client.execute("print('not this one')", cell="next")
    client.session.stop(patience_s=60)
    await other.text(f"open({go_on!r}, 'w')")
    await client.wait_for(Console, text="end\n")
    assert (await client.wait_for(Done)).outcome == "ok"
    with pytest.raises(StopAsyncIteration):
        while True:
            assert not isinstance(await client.next(), Console | Done)


async def test_a_session_closed_before_its_kernel_runs_costs_nothing(
    open_app: OpenApp, pool: HostPool, tmp_path: Path
) -> None:
    other = await open_app()
    for _ in range(20):
        await (await Client.open(pool, tmp_path / "app.py")).close()
    while len(await threads_of(other)) > 1:
        pass  # a thread ends just after it has said that its kernel has


SLOW = """
import builtins, time
if hasattr(builtins, "_slow_is_loaded"): raise ImportError("this cannot be loaded twice")
builtins._slow_is_loaded = True
print("loading", flush=True)
{waits}
ready = True
"""

WAITS_IN_AN_IMPORT = {
    "sleeps": "for _ in range(100): time.sleep(0.01)",
    "spins": "end = time.monotonic() + 1\nwhile time.monotonic() < end: pass",
    "waits": "import threading\nthreading.Event().wait(1)",
}


@pytest.mark.parametrize("ending", ["closed", "interrupted"])
@pytest.mark.parametrize("waits", WAITS_IN_AN_IMPORT.values(), ids=WAITS_IN_AN_IMPORT)
async def test_a_module_is_whole_after_sessions_that_end_while_it_is_imported(
    open_app: OpenApp, tmp_path: Path, waits: str, ending: str
) -> None:
    """One session imports it, and another waits for that."""
    (tmp_path / "slow.py").write_text(SLOW.format(waits=waits))
    other, first, second = await open_app(), await open_app(), await open_app()
    pid = await pid_of(other)
    first.execute("import slow", cell="cell")
    await first.wait_for(Console, text="loading\n")
    second.execute("print('begun', flush=True)\nimport slow", cell="cell")
    await second.wait_for(Console)
    if ending == "closed":
        await first.close()
        await second.close()
    else:
        first.interrupt()
        second.interrupt()
        assert (await first.wait_for(Done)).outcome == "interrupted"
        assert (await second.wait_for(Done)).outcome == "interrupted"
    new = await open_app()
    assert await new.text("import slow\nprint(slow.ready)") == "True\n"
    assert await pid_of(new) == pid


async def test_a_lock_of_a_module_is_released_by_who_is_stopped_while_it_is_held(
    open_app: OpenApp, tmp_path: Path
) -> None:
    (tmp_path / "shared.py").write_text(
        """
import threading, time
lock = threading.Lock()
def work():
    end = time.monotonic() + 0.01
    while time.monotonic() < end: sum(range(100))
def step():
    lock.acquire()
    work()
    lock.release()
"""
    )
    other = await open_app()
    pid = await pid_of(other)
    for _ in range(5):
        client = await open_app()
        await begun(client, "import shared\nwhile True: shared.step(); shared.work()")
        await client.close()
        assert await other.text("import shared\nshared.step()\nprint('free')") == "free\n"
    assert await pid_of(await open_app()) == pid
