"""Interrupts: stopping the code that runs."""

from __future__ import annotations

import asyncio
import time

import pytest
from kernel.conftest import Client, OpenApp, of, printed, until_ended

from mpkernel.errors import KernelFailed
from mpkernel.kernel.messages import Console, Done, Failure, InputRequest, InterruptPending, Status

WAITS = {
    "busy loop": "while True: pass",
    "sleep": "import time; time.sleep(60)",
    "queue": "import queue; queue.Queue().get()",
    "queue with a timeout": "import queue; queue.Queue().get(timeout=60)",
    "event": "import threading; threading.Event().wait()",
    "condition": "import threading\nc = threading.Condition()\nwith c: c.wait(60)",
    "future": "import concurrent.futures as f; f.Future().result()",
    "thread": "import threading, time\n"
    "t = threading.Thread(target=time.sleep, args=(60,), daemon=True)\n"
    "t.start()\nwhile t.is_alive(): t.join(0.1)",
    "generator": "def forever():\n    while True: yield\nfor _ in forever(): pass",
    "await": "import asyncio; await asyncio.sleep(60)",
    "loop": "import asyncio; asyncio.run(asyncio.sleep(60))",
    "child": "import subprocess; subprocess.run(['sleep', '60'])",
    "text of a child": "import subprocess; subprocess.run(['sleep', '60'], capture_output=True)",
    "pipe": "import multiprocessing\nends = multiprocessing.Pipe()\nends[0].poll(60)",
    "process": "import multiprocessing, time\n"
    "p = multiprocessing.Process(target=time.sleep, args=(60,))\np.start(); p.join()",
    "input": "input()",
    "prints": "while True: print('x' * 1000)",
}


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
async def test_an_interrupt_reaches(client: Client, code: str) -> None:
    client.execute(f"print('begun', flush=True)\n{code}", cell="cell")
    if code == "input()":
        await client.wait_for(InputRequest)
    else:
        await client.wait_for(Console)
    began = time.monotonic()
    client.interrupt()
    done = await client.wait_for(Done)
    assert done.outcome == "interrupted", client.messages
    assert time.monotonic() - began < 20  # how soon is measured in the benchmarks
    assert of(client.messages, Failure)[-1].error == "KeyboardInterrupt"
    await client.wait_for(Status, state="idle")
    assert await client.text("print('here')") == "here\n"


async def test_an_interrupt_of_nothing_does_nothing(client: Client) -> None:
    for _ in range(5):
        client.interrupt()
    assert await client.text("print('here')") == "here\n"


async def test_an_interrupt_stops_one_session_only(open_app: OpenApp) -> None:
    first, second = await open_app(), await open_app()
    for client in (first, second):
        client.execute("print('begun', flush=True)\nwhile True: pass", cell="c")
        await client.wait_for(Console)
    first.interrupt()
    assert (await first.wait_for(Done)).outcome == "interrupted"
    second.interrupt()
    assert (await second.wait_for(Done)).outcome == "interrupted"


async def test_a_wait_that_an_interrupt_can_reach_misses_no_notification(client: Client) -> None:
    """Not one that comes when a slice of the wait has passed and the lock is not had back."""
    client.execute(
        """\
import threading, time
condition = threading.Condition()
def notify():
    with condition:
        until = time.monotonic() + 0.3
        while time.monotonic() < until: pass
        condition.notify()
thread = threading.Thread(target=notify)
with condition:
    thread.start()
    print("notified", condition.wait(), condition.wait(0.01), condition.wait(-1))
""",
        cell="waits",
    )
    async with asyncio.timeout(20):
        assert (await client.wait_for(Done)).outcome == "ok"
    assert printed(client.messages) == "notified True False False\n"


async def test_a_loop_of_the_cells_own_ends_in_order(client: Client) -> None:
    client.execute(
        """\
import asyncio
async def main():
    try:
        print("begun", flush=True)
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.1)
        print("in order")
asyncio.run(main())
""",
        cell="loop",
    )
    await client.wait_for(Console)
    client.interrupt()
    assert (await client.wait_for(Done)).outcome == "interrupted"
    assert printed(client.messages) == "begun\nin order\n"


async def test_waits_for_children_and_descriptors_end_as_they_do_in_any_program(
    client: Client,
) -> None:
    """Also if they last longer than a slice, and if another thread has taken the exit status."""
    text = await client.text(
        """\
        import os, selectors, signal, subprocess, sys, threading, time
        def run(code):
            return subprocess.Popen([sys.executable, "-c", f"import os, time; {code}"])
        def outcome(*args):
            try:
                return os.waitpid(*args)
            except OSError as error:
                return type(error).__name__
        child = run("time.sleep(0.3); os._exit(3)")
        print(outcome(child.pid, os.WNOHANG), outcome(child.pid, 0) == (child.pid, 768))
        print(outcome(child.pid, 0), outcome(os.getppid(), 0))
        print(run("time.sleep(0.2); os.kill(os.getpid(), 9)").wait(), run("").wait())
        child = run("time.sleep(0.3)")
        while child.pid != os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT).si_pid: pass
        print(outcome(-1, 0)[1], outcome(child.pid, 0))

        pipe = os.pipe()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe[0], selectors.EVENT_READ)
            begun = time.monotonic()
            print(selector.select(0.2), time.monotonic() - begun >= 0.2)
            print(selector.select(0), selector.select(-1), selector.select(0.01))
            timer = threading.Timer(0.2, os.write, (pipe[1], b"x"))
            timer.start()
            print([(key.fd == pipe[0], events) for key, events in selector.select()])
            print(len(selector.select(60)), len(selector.select(timeout=0)))
            timer.join()
        """
    )
    assert text == (
        "(0, 0) True\n"
        "ChildProcessError ChildProcessError\n"
        "-9 0\n"
        "0 ChildProcessError\n"
        "[] True\n"
        "[] [] []\n"
        "[(True, 1)]\n"
        "1 1\n"
    )


async def test_where_no_interrupt_reaches_the_client_is_told(client: Client) -> None:
    client.execute(
        """\
import sys, threading
lock, main = threading.Lock(), threading.get_ident()
lock.acquire()
def is_inside():
    frame = sys._current_frames()[main]
    return (frame.f_code.co_name, frame.f_lineno) == ("<module>", 12)
def release_when_told():
    while not is_inside(): pass
    input()
    lock.release()
threading.Thread(target=release_when_told).start()
lock.acquire()
""",
        cell="stuck",
    )
    await client.wait_for(InputRequest)
    client.interrupt()
    assert await client.wait_for(InterruptPending) == InterruptPending("stuck")
    client.answer("go on")
    assert (await client.wait_for(Done)).outcome == "interrupted"


async def test_a_second_interrupt_within_a_second_ends_the_session(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    client.execute(
        """\
begun = False
while True:
    try:
        while True:
            if not begun:
                begun = True
                print("begun", flush=True)
    except KeyboardInterrupt:
        pass
""",
        cell="deaf",
    )
    await client.wait_for(Console)
    client.interrupt()
    client.interrupt()
    with pytest.raises(KernelFailed, match="interrupted twice"):
        while True:
            await client.next()
    assert await other.text("print('here')") == "here\n"


async def test_interrupts_among_prints_lose_and_tear_nothing(client: Client) -> None:
    """Forty interrupts at any moment of printing: what the code counted as printed arrived."""
    for turn in range(40):
        client.execute(
            """\
printed = 0
print("begun", flush=True)
while True:
    print(f"line {printed}")
    printed += 1
""",
            cell="cell",
        )
        client.messages.clear()
        await client.wait_for(Console)
        for _ in range(turn % 7):
            await client.wait_for(Console)
        client.interrupt()
        await client.wait_for(Done)
        lines = printed(client.messages).splitlines()[1:]
        await client.wait_for(Status, state="idle")
        count = int((await client.text("import builtins; builtins.print(printed)")).strip())
        assert lines[:count] == [f"line {number}" for number in range(count)]
        assert len(lines) - count in (0, 1)
        await asyncio.sleep(0)


async def test_closing_a_session_stops_its_code(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    client.execute("print('begun', flush=True)\nwhile True: pass", cell="c")
    await client.wait_for(Console)
    await client.close()
    await until_ended(other)
